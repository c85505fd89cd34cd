import { once } from 'node:events';
import { PassThrough, type Readable } from 'node:stream';
import type { Descriptor } from '../../image/descriptor.js';
import type { ImageStore } from './image-store.js';

export interface KeepingOptions {
  /** What `bytes` are. */
  descriptor: Descriptor;
  store: ImageStore;
  /** Hears of bytes as they pass. */
  onBytes?: (count: number) => void;
  /** Hears why there is no copy. */
  onError?: (error: unknown) => void;
}

/**
 * Passes `bytes`, whose stream ends with an error if they are not what they should be, on as they come and keeps a copy in the store: it is
 * there when the last byte has been taken. A disk that does not take it costs the next mount a request, and this one nothing.
 */
export async function* keepingCopy(
  bytes: Readable,
  { descriptor, store, onBytes, onError }: KeepingOptions,
): AsyncGenerator<Buffer> {
  const copy = new PassThrough();
  copy.on('error', () => {});
  let isWanted = true;
  const kept = store.writeBlob(descriptor, copy).catch((error: unknown) => {
    // One that was cut short is no copy, and no news.
    if (isWanted) onError?.(error);
    isWanted = false;
    copy.resume();
  });
  try {
    for await (const part of bytes as AsyncIterable<Buffer>) {
      onBytes?.(part.length);
      if (isWanted && !copy.write(part)) await Promise.race([once(copy, 'drain'), kept]);
      yield part;
    }
    copy.end();
  } finally {
    bytes.destroy();
    if (!copy.writableEnded) {
      isWanted = false;
      copy.destroy();
    }
    await kept;
  }
}
