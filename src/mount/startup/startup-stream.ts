import type { Readable } from 'node:stream';
import type { Descriptor } from '../../image/descriptor.js';
import type { ImageSource } from '../../image/source.js';
import type { ImageStore } from '../image/image-store.js';
import { keepingCopy } from '../image/keeping-copy.js';

/** The bytes of a start-up pack from its first one on. */
export interface PackStream {
  /** True if they come from this machine. */
  isKept: boolean;
  bytes: AsyncIterable<Buffer>;
  /** To be told that bytes turned out wrong: whoever gave them may have others give the next ones. */
  distrust(): void;
}

export interface PackStreamOptions {
  descriptor: Descriptor;
  store: ImageStore;
  source: ImageSource;
  signal: AbortSignal;
  /** Told that bytes are asked for; what it returns is called when no more come. */
  occupy: () => () => void;
  /** Hears of bytes that came over the network. */
  onBytes: (count: number) => void;
}

/** The pack as it is kept on this machine; undefined if it is not. */
export async function openKeptPack({
  descriptor,
  store,
}: Pick<PackStreamOptions, 'descriptor' | 'store'>): Promise<PackStream | undefined> {
  const bytes = await store.openBlob(descriptor);
  return bytes && { isKept: true, bytes, distrust() {} };
}

/**
 * The pack from the source, in one request. What arrives is kept on this machine, once all has been taken. Its own digest nobody looks at:
 * whoever takes it checks table and units, which are all there is, by theirs.
 */
export async function openRemotePack(options: PackStreamOptions): Promise<PackStream> {
  const { descriptor, store, source, signal, occupy, onBytes } = options;
  const release = occupy();
  let bytes: Readable;
  try {
    bytes = await source.openBlob(descriptor, signal, { isDigestCheckedLater: true });
  } catch (error) {
    release();
    throw error;
  }
  bytes.once('close', release);
  return {
    isKept: false,
    bytes: keepingCopy(bytes, { descriptor, store, onBytes }),
    distrust: () => source.distrust?.(bytes),
  };
}
