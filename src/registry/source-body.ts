import type { Descriptor } from '../image/descriptor.js';
import { Relay } from '../image/relay.js';
import type { ImageSource } from '../image/source.js';
import { errorOfRead } from './server-faults.js';
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
    async function feed(relay: Relay): Promise<void> {
      let at = start;
      const count = ({ length }: Buffer) => {
        at += length;
        if (at > counted) onBytes?.(Math.min(length, at - counted));
        counted = Math.max(counted, at);
      };
      try {
        if (start === 0 && end === blob.size) {
          const checks = { isDigestCheckedLater: true };
          await relay.passOn(await source.openBlob(blob, signal, checks), count);
          return;
        }
        while (at < end) {
          const piece = await source.readBlobRange(blob, at, Math.min(READ_SIZE, end - at), signal);
          count(piece);
          await relay.give(piece);
        }
      } catch (error) {
        // If nobody reads any more, that is not the source's fault.
        if (!relay.destroyed) failure = error;
        throw error;
      }
    }
    return { size: end - start, open: () => new Relay(feed), failure: () => failure };
  };
}

/** Reads the whole blob, verified: to be called when a registry found its digest wrong. Throws if it is the source's fault. */
export async function blameSource(
  source: ImageSource,
  blob: Descriptor,
  signal: AbortSignal | undefined,
): Promise<void> {
  const stream = await source.openBlob(blob, signal);
  try {
    for await (const _ of stream);
  } catch (error) {
    throw errorOfRead(error, source, stream);
  }
}
