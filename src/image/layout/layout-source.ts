import type { Readable } from 'node:stream';
import { isRafterError, RafterError } from '../../errors.js';
import { type Descriptor, type Digest, verifyBytes } from '../descriptor.js';
import { type Index, MAX_MANIFEST_SIZE, type Manifest, parseManifest } from '../manifest.js';
import { CONTAINERD_NAME, isIndexType, isManifestType, REF_NAME } from '../media-types.js';
import { formatReference, type LayoutReference } from '../reference.js';
import { untaggedReferrer } from '../referrer.js';
import type { BlobChecks, ImageSource } from '../source.js';
import { verifiedStream } from '../verified-stream.js';
import {
  checkLayoutVersion,
  LAYOUT_INDEX,
  LAYOUT_MARKER,
  type LayoutIndex,
  MAX_MARKER_SIZE,
  parseLayoutIndex,
} from './layout-files.js';
import { type LayoutReader, layoutDirectory, type OpenBlob } from './layout-reader.js';

/** An image of an OCI image layout (OCI image spec, image layout): of a directory, or whatever `files` reads. */
export class LayoutSource implements ImageSource {
  readonly name: string;
  readonly #root: string;
  readonly #files: LayoutReader;
  readonly #reference: LayoutReference;

  constructor(reference: LayoutReference, files = layoutDirectory(reference.path)) {
    this.name = formatReference(reference);
    this.#root = reference.path;
    this.#files = files;
    this.#reference = reference;
  }

  async resolve(): Promise<Descriptor> {
    const index = await this.#readIndex();
    const { tag, digest } = this.#reference;
    if (digest !== undefined) return this.#resolveDigest(index, digest);
    return tag === undefined ? this.#onlyImage(index) : this.#entryOf(index, tag);
  }

  async readManifest(descriptor: Descriptor): Promise<Buffer> {
    return this.#withBlob(descriptor, async (blob) => {
      if (descriptor.size > MAX_MANIFEST_SIZE) {
        const limit = `the limit of ${MAX_MANIFEST_SIZE}`;
        throw new RafterError('LIMIT_EXCEEDED', `${blob.name}: ${descriptor.size} bytes, more than ${limit}`);
      }
      const size = Math.min(blob.size, descriptor.size + 1);
      const bytes = await blob.read({ offset: 0, size });
      verifyBytes(bytes, descriptor, blob.name);
      return bytes;
    });
  }

  async openBlob(descriptor: Descriptor, signal?: AbortSignal, checks?: BlobChecks): Promise<Readable> {
    const blob = await this.#files.openBlob(descriptor.digest);
    const stream = blob.stream();
    stream.once('close', () => void blob.close().catch(() => {}));
    return verifiedStream(stream, descriptor, blob.name, { signal, ...checks });
  }

  async readBlobRange(descriptor: Descriptor, offset: number, length: number): Promise<Buffer> {
    return this.#withBlob(descriptor, (blob) => blob.read({ offset, size: length }));
  }

  /** Those that index.json lists without a tag, as ORAS and LayoutTarget leave them. */
  async listReferrers(
    digest: Digest,
    { artifactType }: { artifactType?: string | undefined } = {},
  ): Promise<Descriptor[]> {
    const found: Descriptor[] = [];
    for (const entry of (await this.#readIndex()).manifests.filter(isUntagged)) {
      const manifest = await this.#parseEntry(entry);
      if (manifest?.subject?.digest !== digest) continue;
      const referrer = untaggedReferrer(manifest, { ...entry, mediaType: manifest.mediaType });
      if (artifactType === undefined || referrer.artifactType === artifactType) found.push(referrer);
    }
    return found;
  }

  close(): Promise<void> {
    return this.#files.close();
  }

  /** Undefined for what is listed but is not in the layout, as members of an index may be, and for what is no manifest. */
  async #parseEntry(entry: Descriptor): Promise<Manifest | Index | undefined> {
    if (!isManifestType(entry.mediaType) && !isIndexType(entry.mediaType)) return undefined;
    try {
      return parseManifest(await this.readManifest(entry), `${this.#root}: ${entry.digest}`, entry.mediaType);
    } catch (error) {
      if (isRafterError(error, 'NOT_FOUND')) return undefined;
      throw error;
    }
  }

  async #readIndex(): Promise<LayoutIndex> {
    const marker = await this.#files.readFile(LAYOUT_MARKER, MAX_MARKER_SIZE);
    if (marker !== undefined) checkLayoutVersion(marker, this.#files.pathOf(LAYOUT_MARKER));
    const bytes = await this.#files.readFile(LAYOUT_INDEX, MAX_MANIFEST_SIZE);
    if (bytes === undefined) {
      throw new RafterError('NOT_FOUND', `${this.#root}: no OCI layout here (${LAYOUT_INDEX} is missing)`, {
        hint:
          this.#reference.transport === 'oci-archive'
            ? 'if docker save wrote it, write docker-archive:FILE[:REF]'
            : 'an OCI layout is a directory with index.json, oci-layout and blobs in it',
      });
    }
    return parseLayoutIndex(bytes, this.#files.pathOf(LAYOUT_INDEX));
  }

  #entryOf(index: LayoutIndex, tag: string): Descriptor {
    const found =
      index.manifests.find((entry) => entry.annotations?.[REF_NAME] === tag) ??
      index.manifests.find((entry) => entry.annotations?.[CONTAINERD_NAME] === tag);
    if (found !== undefined) return found;
    throw new RafterError('NOT_FOUND', `${this.#root}: no image is tagged ${tag}`, {
      hint: this.#listTags(index),
    });
  }

  async #onlyImage(index: LayoutIndex): Promise<Descriptor> {
    const [first, ...others] = await this.#images(index);
    if (first === undefined) throw new RafterError('NOT_FOUND', `${this.#root}: the layout holds no image`);
    if (others.length === 0) return first;
    throw new RafterError('USAGE', `${this.#root}: the layout holds ${others.length + 1} images`, {
      hint: `name one as ${this.#form}:TAG; ${this.#listTags(index)}`,
    });
  }

  /** The entries, without those that refer to something. */
  async #images({ manifests }: LayoutIndex): Promise<Descriptor[]> {
    if (manifests.length < 2) return manifests;
    const images: Descriptor[] = [];
    for (const entry of manifests) {
      const subject = isUntagged(entry) ? (await this.#parseEntry(entry))?.subject : undefined;
      if (subject === undefined) images.push(entry);
    }
    return images.length > 0 ? images : manifests;
  }

  /** Also finds members of an index, which index.json does not list. */
  async #resolveDigest(index: LayoutIndex, digest: Digest): Promise<Descriptor> {
    const listed = index.manifests.find((entry) => entry.digest === digest);
    if (listed !== undefined) return listed;
    const blob = await this.#files.openBlob(digest);
    await blob.close();
    const descriptor = { mediaType: '', digest, size: blob.size };
    const { mediaType } = parseManifest(await this.readManifest(descriptor), blob.name);
    return { ...descriptor, mediaType };
  }

  get #form(): string {
    return this.#reference.transport === 'oci' ? 'oci:DIR' : 'oci-archive:FILE';
  }

  #listTags(index: LayoutIndex): string {
    const tags = index.manifests.flatMap((entry) => entry.annotations?.[REF_NAME] ?? []);
    if (tags.length === 0) return `its images have no tags; name one as ${this.#form}@DIGEST`;
    const shown = tags.slice(0, 20).join(', ');
    return `the layout has ${shown}${tags.length > 20 ? ` and ${tags.length - 20} more` : ''}`;
  }

  async #withBlob<T>({ digest }: Descriptor, work: (blob: OpenBlob) => Promise<T>): Promise<T> {
    const blob = await this.#files.openBlob(digest);
    try {
      return await work(blob);
    } finally {
      await blob.close();
    }
  }
}

function isUntagged({ annotations }: Descriptor): boolean {
  return annotations?.[REF_NAME] === undefined && annotations?.[CONTAINERD_NAME] === undefined;
}
