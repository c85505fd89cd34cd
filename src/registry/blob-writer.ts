import { isRafterError, RafterError } from '../errors.js';
import type { Digest } from '../image/descriptor.js';
import type { BlobWriter } from '../image/target.js';
import type { Profile } from './profiles/profile.js';
import type { Session } from './session.js';
import type { Spool } from './spool.js';
import { cancelUpload, type UploadPlace } from './upload-session.js';
import { finishUpload, patchAll } from './upload-ways.js';

/** Bytes after which a blob begins to be sent while it is made: a smaller one is asked for and sent at its end. */
const STREAM_FROM = 4 << 20;

export interface RegistryBlobOptions {
  session: Session;
  spool: Spool;
  profile: Profile;
  /** Stores a whole blob in any way, unless the registry has it. */
  store(blob: { digest: Digest; size: number }): Promise<void>;
  ended(): void;
  signal: AbortSignal | undefined;
}

/**
 * A blob on its way to a registry. From STREAM_FROM bytes on it is sent while it is written, by one PATCH that follows the
 * writing; all of it is kept, because few registries can go on after that is cut. If that fails, it is sent at its end.
 */
export class RegistryBlob implements BlobWriter {
  readonly #options: RegistryBlobOptions;
  #stream: StreamedUpload | undefined;
  #failed = false;

  constructor(options: RegistryBlobOptions) {
    this.#options = options;
  }

  async write(bytes: Buffer): Promise<void> {
    const { signal, spool, profile } = this.#options;
    if (signal?.aborted) throw new RafterError('INTERRUPTED', 'writing a blob was interrupted');
    try {
      // What the upload already knows to be hopeless need not be made.
      this.#stream?.throwIfHopeless();
      await spool.write(bytes);
    } catch (error) {
      this.#failed = true;
      throw error;
    }
    if (spool.size >= STREAM_FROM && profile.upload?.stream !== false) {
      this.#stream ??= new StreamedUpload(this.#options);
    }
  }

  async commit(expected?: Digest): Promise<{ digest: Digest; size: number }> {
    if (this.#failed) throw new Error('commit of a blob whose writing failed');
    const { spool, session, store, signal } = this.#options;
    this.#failed = true;
    const blob = spool.finish(expected);
    const place = await this.#stream?.sent();
    if (place === undefined || !(await this.#finish(session, { ...blob, place, signal }))) await store(blob);
    this.#stream = undefined;
    await this.abort();
    return blob;
  }

  async abort(): Promise<void> {
    const { spool, ended } = this.#options;
    const stream = this.#stream;
    this.#stream = undefined;
    await stream?.cancel();
    await spool.remove();
    ended();
  }

  /** False if the upload did not end well, but the blob may still be stored from its beginning. */
  async #finish(
    session: Session,
    blob: { digest: Digest; size: number; place: UploadPlace; signal: AbortSignal | undefined },
  ): Promise<boolean> {
    try {
      await finishUpload(session, blob, blob);
      return true;
    } catch (error) {
      if (isHopeless(error)) throw error;
      return false;
    }
  }
}

/** The PATCH that follows a spool. */
class StreamedUpload {
  readonly #session: Session;
  readonly #stop = new AbortController();
  readonly #sent: Promise<UploadPlace | undefined>;
  #failure: unknown;
  #place: UploadPlace | undefined;

  constructor({ session, spool, signal }: RegistryBlobOptions) {
    this.#session = session;
    const stop = signal === undefined ? this.#stop.signal : AbortSignal.any([signal, this.#stop.signal]);
    this.#sent = patchAll(session, spool, {
      signal: stop,
      onPlace: (place) => {
        this.#place = place;
      },
    }).catch((error: unknown) => {
      this.#failure = error;
      return undefined;
    });
  }

  /** Throws what would also keep any other way of storing the blob from working. */
  throwIfHopeless(): void {
    if (isHopeless(this.#failure)) throw this.#failure;
  }

  /** Waits until everything that was written has been sent; undefined if it could not be. */
  async sent(): Promise<UploadPlace | undefined> {
    const place = await this.#sent;
    this.throwIfHopeless();
    return place;
  }

  async cancel(): Promise<void> {
    this.#stop.abort();
    await this.#sent;
    if (this.#place !== undefined) await cancelUpload(this.#session, this.#place);
  }
}

function isHopeless(error: unknown): boolean {
  return error !== undefined && (!isRafterError(error) || isRafterError(error, 'DENIED', 'INTERRUPTED'));
}
