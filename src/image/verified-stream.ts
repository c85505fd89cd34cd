import { pipeline, type Readable, Transform } from 'node:stream';
import { RafterError } from '../errors.js';
import { checkHex, type Descriptor, hasherFor } from './descriptor.js';
import type { OpenBlobOptions } from './source.js';

/**
 * Passes the bytes of `source` on and ends cleanly only if they are what `expected` names: otherwise TRUNCATED (too
 * few) or DIGEST_MISMATCH (too many, or other bytes). Errors of `source` pass through; destroying the result destroys
 * `source`. Aborting `signal` ends it with INTERRUPTED. With
 * `isDigestCheckedLater` only the size is looked at.
 */
export function verifiedStream(
  source: Readable,
  expected: Pick<Descriptor, 'digest' | 'size'>,
  name: string,
  { signal, isDigestCheckedLater = false }: OpenBlobOptions = {},
): Readable {
  const hash = isDigestCheckedLater ? undefined : hasherFor(expected.digest);
  let seen = 0;
  const check = new Transform({
    highWaterMark: 1 << 20,
    transform(bytes: Buffer, _encoding, done) {
      seen += bytes.length;
      if (seen > expected.size) {
        done(
          new RafterError('DIGEST_MISMATCH', `${name}: more than the ${expected.size} bytes it should have`),
        );
        return;
      }
      hash?.update(bytes);
      done(null, bytes);
    },
    flush(done) {
      if (seen < expected.size) {
        done(new RafterError('TRUNCATED', `${name}: ends after ${seen} of ${expected.size} bytes`));
        return;
      }
      try {
        if (hash !== undefined) checkHex(hash.digest('hex'), expected.digest, name);
      } catch (error) {
        return done(error as RafterError);
      }
      done();
    },
  });
  const stop = () => check.destroy(interrupted(name));
  // pipeline() hands errors of either side to the reader of `check`; a stream that has ended already it does not take (Node.js 24).
  pipeline(source, check, () => signal?.removeEventListener('abort', stop));
  if (signal?.aborted) stop();
  else signal?.addEventListener('abort', stop, { once: true });
  return check;
}

/** The error for work that its AbortSignal ended. */
function interrupted(name: string): RafterError {
  return new RafterError('INTERRUPTED', `${name}: interrupted`);
}
