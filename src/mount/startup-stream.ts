import { once } from 'node:events';
import { PassThrough, type Readable } from 'node:stream';
import type { Descriptor } from '../image/descriptor.js';
import type { ImageSource } from '../image/source.js';
import type { ImageStore } from './image-store.js';

/** The bytes of a start-up pack from its first one on. */
export interface PackStream {
  /** True if they come from this machine. */
  isKept: boolean;
  bytes: AsyncIterable<Buffer>;
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
  return bytes && { isKept: true, bytes };
}

/** The pack from the source, in one request. What arrives is kept on this machine, once it has all come and is what it should be. */
export async function openRemotePack(options: PackStreamOptions): Promise<PackStream> {
  const { descriptor, source, signal, occupy } = options;
  const release = occupy();
  let bytes: Readable;
  try {
    bytes = await source.openBlob(descriptor, signal);
  } catch (error) {
    release();
    throw error;
  }
  bytes.once('close', release);
  return { isKept: false, bytes: keeping(bytes, options) };
}

/** Passes `bytes` on and keeps a copy. A disk that does not take it costs the next mount a request, and this one nothing. */
async function* keeping(
  bytes: Readable,
  { descriptor, store, onBytes }: PackStreamOptions,
): AsyncGenerator<Buffer> {
  const copy = new PassThrough();
  copy.on('error', () => {});
  let isFailed = false;
  const kept = store.writeBlob(descriptor, copy).catch(() => {
    isFailed = true;
    copy.resume();
  });
  try {
    for await (const part of bytes as AsyncIterable<Buffer>) {
      onBytes(part.length);
      if (!isFailed && !copy.write(part)) await Promise.race([once(copy, 'drain'), kept]);
      yield part;
    }
    copy.end();
  } finally {
    bytes.destroy();
    if (!copy.writableEnded) copy.destroy();
    await kept;
  }
}
