import type { Readable } from 'node:stream';
import { isRafterError, RafterError } from '../errors.js';
import type { ImageSource } from '../image/source.js';

/** Calls `failed` when a body breaks. Its errors belong to whoever reads it; here they are only noticed. */
export function watchBody(body: Readable, failed: () => void): void {
  body.once('error', (error: NodeJS.ErrnoException) => {
    // Letting go of a body is no failure of the server.
    if (error.name !== 'AbortError' && error.code !== 'UND_ERR_ABORTED') failed();
  });
}

/**
 * `error` of an answer that is no better from the same server: the next attempt may ask another one. A message that names only
 * the registry is followed by `server`, who gave it.
 */
export function asTemporary(error: unknown, what: string, server?: string): RafterError {
  if (isRafterError(error)) {
    if (error.temporary) return error;
    const message = server === undefined ? error.message : `${error.message} (from ${server})`;
    return new RafterError(error.code, message, { cause: error, temporary: true });
  }
  return new RafterError('UNAVAILABLE', `${what}: the mirror's answer was wrong`, { cause: error });
}

/** `error` of reading `stream`, which `source` opened: a temporary one if it read wrong bytes and the next attempt asks another server. */
export function errorOfRead(error: unknown, source: ImageSource, stream: Readable): unknown {
  const isWrong = isRafterError(error, 'DIGEST_MISMATCH', 'TRUNCATED');
  return isWrong && source.distrust?.(stream) === true ? asTemporary(error, source.name) : error;
}
