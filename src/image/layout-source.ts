import { type FileHandle, open, stat } from 'node:fs/promises';
import type { Readable } from 'node:stream';
import { errnoOf, messageOf, RafterError } from '../errors.js';
import { type Descriptor, type Digest, verifyBytes } from './descriptor.js';
import { blobPath, checkLayoutMarker, type LayoutIndex, readLayoutIndex } from './layout-files.js';
import { MAX_MANIFEST_SIZE, parseManifest } from './manifest.js';
import { REF_NAME } from './media-types.js';
import { formatReference, type LayoutReference } from './reference.js';
import type { ImageSource } from './source.js';
import { verifiedStream } from './verified-stream.js';

/** Bytes per read of a blob; large enough that the cost per call does not count. */
const READ_SIZE = 1 << 20;

/** An image of an OCI image layout directory (OCI image spec, image layout). */
export class LayoutSource implements ImageSource {
  readonly name: string;
  readonly #root: string;
  readonly #reference: LayoutReference;

  constructor(reference: LayoutReference) {
    this.name = formatReference(reference);
    this.#root = reference.path;
    this.#reference = reference;
  }

  async resolve(): Promise<Descriptor> {
    await this.#checkRoot();
    const index = await readLayoutIndex(this.#root);
    if (index === undefined) {
      throw new RafterError('NOT_FOUND', `${this.#root}: no OCI layout here (index.json is missing)`);
    }
    const { tag, digest } = this.#reference;
    if (digest !== undefined) return this.#resolveDigest(index, digest);
    return tag === undefined ? this.#onlyEntry(index) : this.#entryOf(index, tag);
  }

  async readManifest(descriptor: Descriptor): Promise<Buffer> {
    if (descriptor.size > MAX_MANIFEST_SIZE) {
      const limit = `the limit of ${MAX_MANIFEST_SIZE}`;
      throw new RafterError(
        'LIMIT_EXCEEDED',
        `${this.#nameOf(descriptor)}: ${descriptor.size} bytes, more than ${limit}`,
      );
    }
    return this.#withBlob(descriptor, async (handle) => {
      const { size } = await handle.stat();
      const bytes = await readExactly(
        handle,
        0,
        Math.min(size, descriptor.size + 1),
        this.#nameOf(descriptor),
      );
      verifyBytes(bytes, descriptor, this.#nameOf(descriptor));
      return bytes;
    });
  }

  async openBlob(descriptor: Descriptor, signal?: AbortSignal): Promise<Readable> {
    const handle = await this.#open(descriptor);
    const file = handle.createReadStream({ highWaterMark: READ_SIZE });
    return verifiedStream(file, descriptor, this.#nameOf(descriptor), signal);
  }

  async readBlobRange(descriptor: Descriptor, offset: number, length: number): Promise<Buffer> {
    return this.#withBlob(descriptor, (handle) =>
      readExactly(handle, offset, length, this.#nameOf(descriptor)),
    );
  }

  async close(): Promise<void> {}

  async #checkRoot(): Promise<void> {
    try {
      const info = await stat(this.#root);
      if (!info.isDirectory()) throw new RafterError('USAGE', `${this.#root}: not a directory`);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT') throw error;
      throw new RafterError('NOT_FOUND', `${this.#root}: no such directory`, { cause: error });
    }
    await checkLayoutMarker(this.#root);
  }

  #entryOf(index: LayoutIndex, tag: string): Descriptor {
    const found = index.manifests.find((entry) => entry.annotations?.[REF_NAME] === tag);
    if (found !== undefined) return found;
    throw new RafterError('NOT_FOUND', `${this.#root}: no image is tagged ${tag}`, { hint: listTags(index) });
  }

  #onlyEntry(index: LayoutIndex): Descriptor {
    const [first, ...others] = index.manifests;
    if (first === undefined) throw new RafterError('NOT_FOUND', `${this.#root}: the layout holds no image`);
    if (others.length === 0) return first;
    throw new RafterError('USAGE', `${this.#root}: the layout holds ${index.manifests.length} images`, {
      hint: `name one as oci:DIR:TAG; ${listTags(index)}`,
    });
  }

  /** Also finds members of an index, which index.json does not list. */
  async #resolveDigest(index: LayoutIndex, digest: Digest): Promise<Descriptor> {
    const listed = index.manifests.find((entry) => entry.digest === digest);
    if (listed !== undefined) return listed;
    const path = blobPath(this.#root, digest);
    const info = await stat(path).catch((error: unknown) => {
      throw blobError(error, path);
    });
    const descriptor = { mediaType: '', digest, size: info.size };
    const { mediaType } = parseManifest(await this.readManifest(descriptor), path);
    return { ...descriptor, mediaType };
  }

  #nameOf(descriptor: Descriptor): string {
    return blobPath(this.#root, descriptor.digest);
  }

  async #open(descriptor: Descriptor): Promise<FileHandle> {
    const path = this.#nameOf(descriptor);
    try {
      return await open(path, 'r');
    } catch (error) {
      throw blobError(error, path);
    }
  }

  async #withBlob<T>(descriptor: Descriptor, work: (handle: FileHandle) => Promise<T>): Promise<T> {
    const handle = await this.#open(descriptor);
    try {
      return await work(handle);
    } finally {
      await handle.close();
    }
  }
}

/** Reads exactly [offset, offset + length); TRUNCATED if the file ends before. */
async function readExactly(
  handle: FileHandle,
  offset: number,
  length: number,
  name: string,
): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(length);
  let done = 0;
  while (done < length) {
    const { bytesRead } = await handle.read(bytes, done, length - done, offset + done);
    if (bytesRead === 0) {
      throw new RafterError(
        'TRUNCATED',
        `${name}: ends at ${offset + done}, ${offset + length} bytes were needed`,
      );
    }
    done += bytesRead;
  }
  return bytes;
}

function blobError(error: unknown, path: string): RafterError {
  if (errnoOf(error) === 'ENOENT') {
    return new RafterError('NOT_FOUND', `${path}: the blob is missing`, { cause: error });
  }
  const code = errnoOf(error) === 'EACCES' ? 'DENIED' : 'FAILED';
  return new RafterError(code, `${path}: ${messageOf(error)}`, { cause: error });
}

function listTags(index: LayoutIndex): string {
  const tags = index.manifests.flatMap((entry) => entry.annotations?.[REF_NAME] ?? []);
  if (tags.length === 0) return 'its images have no tags; name one as oci:DIR@DIGEST';
  const shown = tags.slice(0, 20).join(', ');
  return `the layout has ${shown}${tags.length > 20 ? ` and ${tags.length - 20} more` : ''}`;
}
