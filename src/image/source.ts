import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { RafterError } from '../errors.js';
import { useBlob } from './asking-others.js';
import type { Descriptor, Digest } from './descriptor.js';

/** Who compares the digest of a blob that is read. */
export interface BlobChecks {
  /**
   * True if whoever gets the bytes compares their digest before anybody uses them, as a registry does with what is sent to it:
   * hashing twice is what costs most of a copy. The size is checked all the same. Default false.
   */
  isDigestCheckedLater?: boolean | undefined;
}

/** How a blob is opened, with what ends the reading. */
export interface OpenBlobOptions extends BlobChecks {
  signal?: AbortSignal | undefined;
  /** Default: `startup`, as whole blobs are what an image is opened with, and its start-up pack. */
  urgency?: ReadUrgency | undefined;
}

/** Why bytes are read, the most urgent first. A server that spares another one may be told. */
export type ReadUrgency = 'demand' | 'startup' | 'readahead' | 'completion';

/** Where an image is read from. Every transport implements it; nothing above knows which one it is. */
export interface ImageSource {
  /** The reference, for messages. */
  readonly name: string;
  /** Where in which registry the image is; undefined if it is in none. */
  readonly place?: { registry: string; repository: string } | undefined;
  /** The descriptor that the reference names. Reads no blob. NOT_FOUND if there is none. */
  resolve(signal?: AbortSignal): Promise<Descriptor>;
  /** A manifest or index, whole (at most MAX_MANIFEST_SIZE bytes), verified against digest and size. Not for a configuration: that is a blob. */
  readManifest(descriptor: Descriptor, signal?: AbortSignal): Promise<Buffer>;
  /**
   * A whole blob as a stream that is verified while it is read: with wrong bytes it ends with DIGEST_MISMATCH or
   * TRUNCATED instead of a clean end, a temporary error if the next read asks another server (see `askingOthers`). Destroy it if it
   * is not read to its end.
   */
  openBlob(
    descriptor: Descriptor,
    signal?: AbortSignal,
    options?: Omit<OpenBlobOptions, 'signal'>,
  ): Promise<Readable>;
  /**
   * Exactly the bytes [offset, offset + length) of a blob; TRUNCATED if it is shorter. They cannot be verified here:
   * the caller checks the digests of the chunks in them. Without `urgency` somebody waits for them.
   */
  readBlobRange(
    descriptor: Descriptor,
    offset: number,
    length: number,
    signal?: AbortSignal,
    urgency?: ReadUrgency,
  ): Promise<Buffer>;
  /**
   * Where ranges are had in pieces only, just now: stored bytes of an aligned window in which a read costs as much as all of it.
   * Undefined or absent: a range costs what it has, as it does in blobs that are no larger than a piece.
   */
  readonly pieceBytes?: number | undefined;
  /** As `readBlobRange`, for a few bytes, at no more than they cost where ranges are had in pieces. Absent: there are no pieces. */
  readFewBytes?(
    descriptor: Descriptor,
    offset: number,
    length: number,
    signal?: AbortSignal,
  ): Promise<Buffer>;
  /**
   * Says that `bytes`, the very buffer that `readBlobRange` returned, were not the blob's: the next read asks another server, if there
   * is one that has not given wrong bytes, and then this is true. The same of a stream that `openBlob` returned with
   * `isDigestCheckedLater`. Absent: there is only one place to read from.
   */
  distrust?(bytes: Buffer | Readable): boolean;
  /**
   * What refers to the manifest `digest` as its subject, of the type `artifactType` or of any. Absent: that is not known where the image is.
   */
  listReferrers?(
    digest: Digest,
    options: { artifactType?: string | undefined; signal?: AbortSignal | undefined },
  ): Promise<Descriptor[]>;
  /** Opens `count` connections that will be needed soon, besides the one of the next request. Absent: there are none. */
  openSpares?(count: number): void;
  /** Lets go of connections and files. */
  close(): Promise<void>;
}

/**
 * A small blob, such as a configuration, whole and verified. LIMIT_EXCEEDED if its descriptor says more than `limit`
 * bytes.
 */
export async function readSmallBlob(
  source: ImageSource,
  descriptor: Descriptor,
  { limit, signal }: { limit: number; signal?: AbortSignal | undefined },
): Promise<Buffer> {
  if (descriptor.size > limit) {
    const what = `${source.name}: blob ${descriptor.digest}`;
    throw new RafterError(
      'LIMIT_EXCEEDED',
      `${what}: ${descriptor.size} bytes, more than the limit of ${limit}`,
    );
  }
  return useBlob(source, descriptor, { signal, use: buffer });
}
