import { Readable } from 'node:stream';
import type { Descriptor } from '../image/descriptor.js';
import type { ImageSource } from '../image/source.js';
import type { RequestBody } from './transport.js';

/** Bytes asked of a source at once where it is not read from its beginning. */
const READ_SIZE = 4 << 20;

export interface SourceBodyOptions {
  signal?: AbortSignal | undefined;
  /** Hears of bytes that were read for the first time. */
  onBytes?: ((count: number) => void) | undefined;
}

/**
 * Makes bodies of a blob that a source has, without keeping any of it: each attempt reads it again. Its digest is not looked at on
 * the way, because the registry does that before it takes the blob; see `blameSource`.
 */
export function sourceBodies(
  source: ImageSource,
  blob: Descriptor,
  { signal, onBytes }: SourceBodyOptions,
): (start: number, end?: number) => RequestBody {
  let counted = 0;
  return (start, end = blob.size) => {
    let failure: unknown;
    async function* bytes(): AsyncGenerator<Buffer> {
      let at = start;
      try {
        for await (const piece of start === 0 && end === blob.size ? whole() : part(start, end)) {
          at += piece.length;
          if (at > counted) onBytes?.(Math.min(piece.length, at - counted));
          counted = Math.max(counted, at);
          yield piece;
        }
      } catch (error) {
        failure = error;
        throw error;
      }
    }
    return {
      size: end - start,
      open: () => Readable.from(bytes(), { objectMode: false, highWaterMark: 256 << 10 }),
      failure: () => failure,
    };
  };

  async function* whole(): AsyncGenerator<Buffer> {
    const stream = await source.openBlob(blob, signal, { isDigestCheckedLater: true });
    try {
      yield* stream as AsyncIterable<Buffer>;
    } finally {
      stream.destroy();
    }
  }

  async function* part(start: number, end: number): AsyncGenerator<Buffer> {
    for (let at = start; at < end; at += READ_SIZE) {
      yield await source.readBlobRange(blob, at, Math.min(READ_SIZE, end - at), signal);
    }
  }
}

/** Reads the whole blob, verified: to be called when a registry found its digest wrong. Throws if it is the source's fault. */
export async function blameSource(
  source: ImageSource,
  blob: Descriptor,
  signal: AbortSignal | undefined,
): Promise<void> {
  for await (const _ of await source.openBlob(blob, signal));
}
