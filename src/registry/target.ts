import { ociDigest } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import type { Descriptor, Digest } from '../image/descriptor.js';
import type { RegistryReference } from '../image/reference.js';
import type { BlobWriter, CreateBlobOptions, ImageTarget, PutManifestOptions } from '../image/target.js';
import { headBlob } from './blobs.js';
import { headManifest, putManifest } from './manifests.js';
import type { RegistryOptions } from './options.js';
import { openSession, type Session } from './session.js';
import { createSpool, type Spool } from './spool.js';
import { uploadBlob } from './upload.js';

/**
 * An image in a registry as target. A blob is spooled to a file in `tempDir`, then sent, unless the registry has it. The tag's
 * manifest comes last, so the image appears whole.
 */
export class RegistryTarget implements ImageTarget {
  readonly name: string;
  readonly #reference: RegistryReference;
  readonly #session: Session;
  readonly #tempDir: string | undefined;
  readonly #open = new Set<BlobWriter>();

  constructor(
    reference: RegistryReference,
    options: RegistryOptions & { tempDir?: string | undefined } = {},
  ) {
    this.name = reference.name;
    this.#reference = reference;
    this.#session = openSession(reference, options);
    this.#tempDir = options.tempDir;
  }

  async hasBlob(
    { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const found = await headBlob(this.#session, digest, { access: 'push', signal });
    return found !== undefined && (found.size === undefined || found.size === size);
  }

  async createBlob(signal?: AbortSignal, options?: CreateBlobOptions): Promise<BlobWriter> {
    const spool = await createSpool({ ...options, tempDir: this.#tempDir });
    const writer = new SpooledBlob(spool, {
      has: (blob) => this.hasBlob(blob, signal),
      send: (blob) => uploadBlob(this.#session, { ...blob, open: spool.read }, signal),
      ended: () => this.#open.delete(writer),
      signal,
    });
    this.#open.add(writer);
    return writer;
  }

  async putManifest(bytes: Buffer, mediaType: string, options: PutManifestOptions): Promise<Descriptor> {
    const { tag, digest: wanted } = this.#reference;
    const descriptor = { mediaType, digest: ociDigest(bytes), size: bytes.length };
    const { signal } = options;
    if (options.tag && wanted !== undefined && wanted !== descriptor.digest) {
      throw new RafterError(
        'DIGEST_MISMATCH',
        `${this.name}: the manifest to store has digest ${descriptor.digest}`,
        { hint: 'name the target by a tag only' },
      );
    }
    const place = options.tag && tag !== undefined ? tag : descriptor.digest;
    if (place === descriptor.digest) {
      const found = await headManifest(this.#session, place, { access: 'push', signal });
      if (found?.digest === descriptor.digest) return descriptor;
    }
    await putManifest(this.#session, place, { bytes, descriptor }, signal);
    return descriptor;
  }

  async commit(): Promise<void> {
    await this.abort();
  }

  async abort(): Promise<void> {
    await Promise.all([...this.#open].map((writer) => writer.abort()));
    await this.#session.close();
  }
}

interface SpooledBlobActions {
  has(blob: { digest: Digest; size: number }): Promise<boolean>;
  send(blob: { digest: Digest; size: number }): Promise<void>;
  ended(): void;
  signal: AbortSignal | undefined;
}

class SpooledBlob implements BlobWriter {
  readonly #spool: Spool;
  readonly #actions: SpooledBlobActions;
  #failed = false;

  constructor(spool: Spool, actions: SpooledBlobActions) {
    this.#spool = spool;
    this.#actions = actions;
  }

  async write(bytes: Buffer): Promise<void> {
    if (this.#actions.signal?.aborted) throw new RafterError('INTERRUPTED', 'writing a blob was interrupted');
    try {
      await this.#spool.write(bytes);
    } catch (error) {
      this.#failed = true;
      throw error;
    }
  }

  async commit(expected?: Digest): Promise<{ digest: Digest; size: number }> {
    if (this.#failed) throw new Error('commit of a blob whose writing failed');
    const blob = await this.#spool.finish(expected);
    if (!(await this.#actions.has(blob))) await this.#actions.send(blob);
    await this.abort();
    return blob;
  }

  async abort(): Promise<void> {
    await this.#spool.remove();
    this.#actions.ended();
  }
}
