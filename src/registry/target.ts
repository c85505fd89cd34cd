import { ociDigest } from '../codec/digest.js';
import { isRafterError, RafterError } from '../errors.js';
import { algorithmOf, type Descriptor, type Digest, verifyDigest } from '../image/descriptor.js';
import { parseManifest } from '../image/manifest.js';
import type { RegistryReference } from '../image/reference.js';
import { referrerDescriptor } from '../image/referrer.js';
import type { ImageSource } from '../image/source.js';
import type {
  BlobWriter,
  CreateBlobOptions,
  ImageTarget,
  PutBlobOptions,
  PutManifestOptions,
} from '../image/target.js';
import { RegistryBlob } from './blob-writer.js';
import { headBlob } from './blobs.js';
import { RegistryError, type RegistryErrorEntry } from './error.js';
import { headManifest, type PutAnswer, putManifest, type StoredManifest } from './manifests.js';
import type { RegistryOptions } from './options.js';
import { profileByHost } from './profiles/index.js';
import type { Profile } from './profiles/profile.js';
import { addToReferrersTag } from './referrers-tag.js';
import { openSession, type Session } from './session.js';
import { blameSource, sourceBodies } from './source-body.js';
import { createSpool } from './spool.js';
import { uploadBlob } from './upload.js';
import type { UploadBlob } from './upload-ways.js';

/** Bytes from which on it is worth asking a registry whether any of its repositories has a blob. */
const ANONYMOUS_MOUNT_FROM = 1 << 20;

/**
 * An image in a registry as target. Large blobs are sent while they are written, and kept in a nameless file in `tempDir`
 * until the registry has them. The tag's manifest comes last, so the image appears whole.
 */
export class RegistryTarget implements ImageTarget {
  readonly name: string;
  readonly #reference: RegistryReference;
  readonly #session: Session;
  readonly #profile: Profile;
  readonly #tempDir: string | undefined;
  readonly #sending = new Map<Digest, Promise<boolean>>();
  readonly #open = new Set<BlobWriter>();

  constructor(
    reference: RegistryReference,
    options: RegistryOptions & { tempDir?: string | undefined } = {},
  ) {
    this.name = reference.name;
    this.#reference = reference;
    this.#session = openSession(reference, options);
    this.#profile = profileByHost(reference.registry);
    this.#tempDir = options.tempDir;
  }

  async hasBlob(
    { digest, size }: Pick<Descriptor, 'digest' | 'size'>,
    signal?: AbortSignal,
  ): Promise<boolean> {
    const found = await headBlob(this.#session, digest, { access: 'push', signal });
    return found !== undefined && (found.size === undefined || found.size === size);
  }

  putBlob(blob: Descriptor, source: ImageSource, options: PutBlobOptions): Promise<boolean> {
    const { digest, size } = blob;
    const { signal } = options;
    return this.#once(digest, async () => {
      try {
        const how = await uploadBlob(
          this.#session,
          { digest, size, body: sourceBodies(source, blob, options) },
          { profile: this.#profile, mount: this.#mountFor(blob, source), signal },
        );
        return how === 'uploaded';
      } catch (error) {
        const isWrong = error instanceof RegistryError && error.errors.some(isDigestError);
        if (isWrong || isRafterError(error, 'DIGEST_MISMATCH')) await blameSource(source, blob, signal);
        throw error;
      }
    });
  }

  async createBlob(signal?: AbortSignal, options?: CreateBlobOptions): Promise<BlobWriter> {
    const spool = createSpool({ ...options, tempDir: this.#tempDir });
    const writer = new RegistryBlob({
      session: this.#session,
      spool,
      profile: this.#profile,
      store: (blob) => this.#store({ ...blob, body: spool.body }, signal),
      ended: () => this.#open.delete(writer),
      signal,
    });
    this.#open.add(writer);
    return writer;
  }

  async putManifest(bytes: Buffer, mediaType: string, options: PutManifestOptions): Promise<Descriptor> {
    const { tag, digest: wanted } = this.#reference;
    const { signal, digest = ociDigest(bytes) } = options;
    verifyDigest(bytes, digest, `${this.name}: the manifest to store`);
    const descriptor = { mediaType, digest, size: bytes.length };
    if (options.tag && wanted !== undefined && wanted !== descriptor.digest) {
      throw new RafterError(
        'DIGEST_MISMATCH',
        `${this.name}: the manifest to store has digest ${descriptor.digest}`,
        { hint: 'name the target by a tag only' },
      );
    }
    const manifest = parseManifest(bytes, this.name, mediaType);
    const { subject } = manifest;
    const place = options.tag && tag !== undefined ? tag : descriptor.digest;
    if (place === descriptor.digest && subject === undefined) {
      const found = await headManifest(this.#session, place, { access: 'push', signal });
      if (found?.digest === descriptor.digest) return descriptor;
    }
    const stored = { bytes, descriptor };
    // By a tag alone it would only get the registry's own kind of digest.
    let answer = algorithmOf(digest) === 'sha256' ? undefined : await this.#putByDigest(stored, signal);
    if (answer === undefined || place !== digest) {
      answer = await putManifest(this.#session, place, stored, signal);
    }
    if (subject !== undefined && !answer.listsSubject) {
      const referrer = referrerDescriptor(manifest, descriptor);
      await addToReferrersTag(this.#session, subject.digest, referrer, signal);
    }
    return descriptor;
  }

  /** Stores a manifest under a digest that is no SHA-256. UNSUPPORTED where the registry names manifests by SHA-256 only. */
  async #putByDigest(manifest: StoredManifest, signal: AbortSignal | undefined): Promise<PutAnswer> {
    const { digest } = manifest.descriptor;
    try {
      return await putManifest(this.#session, digest, manifest, signal);
    } catch (error) {
      if (!(error instanceof RegistryError && error.errors.some(isDigestError))) throw error;
      const message = `${this.name}: the registry does not take a manifest by the digest ${digest}`;
      throw new RafterError('UNSUPPORTED', message, {
        cause: error,
        hint: 'it may name manifests by SHA-256 only, as CNCF Distribution does',
      });
    }
  }

  async commit(): Promise<void> {
    await this.abort();
  }

  async abort(): Promise<void> {
    await Promise.all([...this.#open].map((writer) => writer.abort()));
    await this.#session.close();
  }

  /** Sends a blob unless the registry has it. */
  async #store(blob: UploadBlob, signal: AbortSignal | undefined): Promise<void> {
    await this.#once(blob.digest, async () => {
      if (await this.hasBlob(blob, signal)) return false;
      await uploadBlob(this.#session, blob, { profile: this.#profile, signal });
      return true;
    });
  }

  /** One blob is sent once: whoever else wants it stored waits for that, and sends it only if that fails. */
  async #once(digest: Digest, send: () => Promise<boolean>): Promise<boolean> {
    for (;;) {
      const running = this.#sending.get(digest);
      if (running === undefined) break;
      const isStored = await running.then(
        () => true,
        () => false,
      );
      if (isStored) return false;
    }
    const sending = send().finally(() => this.#sending.delete(digest));
    this.#sending.set(digest, sending);
    return sending;
  }

  /** How to ask for the blob to be taken over from another repository; undefined if that cannot save anything. */
  #mountFor({ size }: Descriptor, { place }: ImageSource): { from?: string } | undefined {
    const { registry, repository } = this.#reference;
    if (place?.registry === registry) {
      return place.repository === repository ? undefined : { from: place.repository };
    }
    return this.#profile.mount?.anonymous !== false && size >= ANONYMOUS_MOUNT_FROM ? {} : undefined;
  }
}

function isDigestError({ code }: RegistryErrorEntry): boolean {
  return code === 'DIGEST_INVALID' || code === 'SIZE_INVALID';
}
