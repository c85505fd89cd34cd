import type { Readable } from 'node:stream';
import { RafterError } from '../errors.js';
import { checkHex, type Descriptor, hasherFor } from './descriptor.js';
import { Relay } from './relay.js';
import type { OpenBlobOptions } from './source.js';

/**
 * Passes the bytes of `source` on and ends cleanly only if they are what `expected` names: otherwise TRUNCATED (too
 * few) or DIGEST_MISMATCH (too many, or other bytes). Errors of `source` pass through; destroying the result destroys
 * `source`. Aborting `signal` ends it with INTERRUPTED. With
 * `isDigestCheckedLater` only the size is looked at. It ends with what `blame` makes of the error of wrong bytes.
 */
export function verifiedStream(
  source: Readable,
  expected: Pick<Descriptor, 'digest' | 'size'>,
  name: string,
  {
    signal,
    isDigestCheckedLater = false,
    blame = (error) => error,
  }: OpenBlobOptions & { blame?: (error: unknown) => unknown } = {},
): Readable {
  const hash = isDigestCheckedLater ? undefined : hasherFor(expected.digest);
  let seen = 0;
  const look = (bytes: Buffer) => {
    seen += bytes.length;
    if (seen > expected.size) {
      throw blame(
        new RafterError('DIGEST_MISMATCH', `${name}: more than the ${expected.size} bytes it should have`),
      );
    }
    hash?.update(bytes);
  };
  const check = new Relay(async (relay) => {
    await relay.passOn(source, look);
    if (seen < expected.size) {
      throw blame(new RafterError('TRUNCATED', `${name}: ends after ${seen} of ${expected.size} bytes`));
    }
    if (hash === undefined) return;
    try {
      checkHex(hash.digest('hex'), expected.digest, name);
    } catch (error) {
      throw blame(error);
    }
  });
  const stop = () => check.destroy(interrupted(name));
  source.once('error', (error) => check.destroy(error));
  // Whoever reads it gets its errors; if nobody does any more, they must not end the program.
  check.on('error', () => {});
  check.once('close', () => {
    source.destroy();
    signal?.removeEventListener('abort', stop);
  });
  if (signal?.aborted) stop();
  else signal?.addEventListener('abort', stop, { once: true });
  return check;
}

/** The error for work that its AbortSignal ended. */
function interrupted(name: string): RafterError {
  return new RafterError('INTERRUPTED', `${name}: interrupted`);
}
