import type { Readable } from 'node:stream';
import { RafterError } from '../errors.js';
import { type Descriptor, type Digest, verifyBytes } from './descriptor.js';
import {
  checkLayoutVersion,
  LAYOUT_INDEX,
  LAYOUT_MARKER,
  type LayoutIndex,
  MAX_MARKER_SIZE,
  parseLayoutIndex,
} from './layout-files.js';
import { type LayoutReader, layoutDirectory, type OpenBlob } from './layout-reader.js';
import { MAX_MANIFEST_SIZE, parseManifest } from './manifest.js';
import { CONTAINERD_NAME, REF_NAME } from './media-types.js';
import { formatReference, type LayoutReference } from './reference.js';
import type { BlobChecks, ImageSource } from './source.js';
import { verifiedStream } from './verified-stream.js';

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
    return tag === undefined ? this.#onlyEntry(index) : this.#entryOf(index, tag);
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

  close(): Promise<void> {
    return this.#files.close();
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

  #onlyEntry(index: LayoutIndex): Descriptor {
    const [first, ...others] = index.manifests;
    if (first === undefined) throw new RafterError('NOT_FOUND', `${this.#root}: the layout holds no image`);
    if (others.length === 0) return first;
    throw new RafterError('USAGE', `${this.#root}: the layout holds ${index.manifests.length} images`, {
      hint: `name one as ${this.#form}:TAG; ${this.#listTags(index)}`,
    });
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
