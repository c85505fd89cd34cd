import type { Descriptor, Digest } from './descriptor.js';
import type { ImageSource } from './source.js';

/** A blob that is being written. After a failed `write` or `commit` only `abort` is of use. */
export interface BlobWriter {
  /** Appends `bytes`. Await it: that is the back pressure. The buffer may be reused afterwards. */
  write(bytes: Buffer): Promise<void>;
  /** As `write` with each of `pieces`, where several at once are cheaper. */
  writeAll?(pieces: Buffer[]): Promise<void>;
  /**
   * Ends the blob and stores it under its SHA-256. With `expected`, DIGEST_MISMATCH if that is not its digest; if the blob was begun
   * with `digestGiven`, it is stored under `expected`, which may be a SHA-512. Size is in bytes.
   */
  commit(expected?: Digest): Promise<{ digest: Digest; size: number }>;
  /** Drops what was written. Safe after commit, where it does nothing. */
  abort(): Promise<void>;
}

/**
 * What a target's reference is to name: an ordinary image or artifact, a Nydus image, or an index of whatever; `referrer`: beside it
 * something that refers to it.
 */
export type ImageKind = 'image' | 'nydus' | 'index' | 'referrer';

/** Where an image is written to. Nobody can see the image before its last manifest is put and `commit` has returned. */
export interface ImageTarget {
  /** The reference, for messages. */
  readonly name: string;
  /** True if the target has the blob, with that size, so that it need not be sent. */
  hasBlob(blob: Pick<Descriptor, 'digest' | 'size'>, signal?: AbortSignal): Promise<boolean>;
  /** Throws UNSUPPORTED if the target cannot hold such an image. To be asked before anything is sent; absent: it holds all. */
  checkKind?(kind: ImageKind): void;
  /**
   * Stores a blob that `source` has and the target has not, in the target's own best way. True if its bytes were sent, false if
   * the target got it otherwise. Bytes that are not the blob's are an error and not stored. Absent: see `createBlob`.
   */
  putBlob?(blob: Descriptor, source: ImageSource, options: PutBlobOptions): Promise<boolean>;
  /** Starts a blob whose digest is known only at its end. */
  createBlob(signal?: AbortSignal, options?: CreateBlobOptions): Promise<BlobWriter>;
  /**
   * The file of a finished blob that `abort` would remove, undefined if there is none; it must not be changed. Absent: finished
   * blobs outlast an abort.
   */
  stagedFile?(digest: Digest): Promise<string | undefined>;
  /**
   * Stores a manifest or index under its digest; with `tag` also as what the target's reference names. Everything that it
   * refers to must be there before.
   */
  putManifest(bytes: Buffer, mediaType: string, options: PutManifestOptions): Promise<Descriptor>;
  /** Makes everything visible. */
  commit(): Promise<void>;
  /** Removes what was staged. Safe after commit, where it does nothing. */
  abort(): Promise<void>;
}

export interface CreateBlobOptions {
  /**
   * The caller hashes what it writes and gives the digest to `commit`, which then takes it as it is: hashing is what costs
   * most of writing a blob. Default false.
   */
  digestGiven?: boolean;
}

export interface PutBlobOptions {
  signal?: AbortSignal | undefined;
  /** Hears of bytes on their way, each once however often it is sent. */
  onBytes?: ((count: number) => void) | undefined;
}

export interface PutManifestOptions {
  /** True for the manifest that the target's reference is to name; false for the members of an index. */
  tag: boolean;
  /** What the manifest is named by: DIGEST_MISMATCH if it has other bytes. Default: its SHA-256. */
  digest?: Digest | undefined;
  signal?: AbortSignal | undefined;
}
