import { Readable } from 'node:stream';
import { isRafterError, messageOf, RafterError } from '../errors.js';
import type { Descriptor } from './descriptor.js';
import type { ImageSource } from './source.js';

/** How often something is read that one server after the other gives wrong. */
const MAX_TRIES = 8;

/**
 * Does `work` again as long as it fails because a server gave wrong bytes of a blob and the next attempt asks another one (see
 * ImageSource.openBlob). `work` begins anew each time; `onWrong` hears of each such server. What is thrown in the end has in its hint
 * which server was the first.
 */
export async function askingOthers<T>(
  work: () => Promise<T>,
  onWrong: (error: RafterError) => void = () => {},
): Promise<T> {
  let first: RafterError | undefined;
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (!isGivenWrong(error) || tries === MAX_TRIES) throw withFirst(error, first);
      first ??= error;
      onWrong(error);
    }
  }
}

/** True if a server that is not the only one gave wrong bytes of a blob: others may have the right ones. */
export function isGivenWrong(error: unknown): error is RafterError {
  return isRafterError(error, 'DIGEST_MISMATCH', 'TRUNCATED') && error.temporary;
}

function withFirst(error: unknown, first: RafterError | undefined): unknown {
  if (first === undefined || !isRafterError(error) || error.code === 'INTERRUPTED') return error;
  if (error.message === first.message) return error;
  const before = `before that, ${messageOf(first)}`;
  const hint = error.hint === undefined ? before : `${error.hint}; ${before}`;
  return new RafterError(error.code, error.message, { cause: error, hint, temporary: error.temporary });
}

/**
 * What `use` makes of a whole blob; it begins anew with the bytes of another server where one gave wrong ones, of which `onWrong`
 * hears. Throws what `useBlobOnce` throws.
 */
export function useBlob<T>(
  source: ImageSource,
  descriptor: Descriptor,
  { onWrong, ...options }: UseOptions<T> & { onWrong?: (error: RafterError) => void },
): Promise<T> {
  return askingOthers(() => useBlobOnce(source, descriptor, options), onWrong);
}

interface UseOptions<T> {
  signal?: AbortSignal | undefined;
  use: (content: Readable) => Promise<T>;
}

/**
 * What `use` makes of a whole blob. Throws what `openBlob` and `use` throw; but if `use` stumbles over bytes that turn out wrong, and
 * the next attempt asks another server, what the source says of them: see `isGivenWrong`.
 */
export async function useBlobOnce<T>(
  source: ImageSource,
  descriptor: Descriptor,
  { signal, use }: UseOptions<T>,
): Promise<T> {
  const stream = await source.openBlob(descriptor, signal);
  try {
    // Whoever gives up reading must not end the stream before its verdict.
    return await use(Readable.from(stream.iterator({ destroyOnReturn: false }), { objectMode: false }));
  } catch (error) {
    if (source.distrust === undefined || !mayBeDamage(error)) throw error;
    const verdict = await verdictOn(stream);
    throw isGivenWrong(verdict) ? verdict : error;
  } finally {
    stream.destroy();
  }
}

/** True for what damaged bytes may look like to a decompressor, a tar's reader or whoever has digests of parts. */
export function mayBeDamage(error: unknown): boolean {
  return isRafterError(error, 'MALFORMED', 'TRUNCATED', 'DIGEST_MISMATCH', 'LIMIT_EXCEEDED');
}

/** Reads `stream` to its end; what it ends with. */
async function verdictOn(stream: Readable): Promise<unknown> {
  try {
    for await (const _ of stream);
    return undefined;
  } catch (error) {
    return error;
  }
}

/**
 * What `use` makes of bytes of a blob that `read` got by `readBlobRange`. Those that it throws a RafterError for are read again, once,
 * and as long as another server is asked then.
 */
export async function useRange<T>(
  source: ImageSource,
  read: () => Promise<Buffer>,
  use: (bytes: Buffer) => T,
): Promise<T> {
  for (let tries = 1; ; tries++) {
    const bytes = await read();
    try {
      return use(bytes);
    } catch (error) {
      if (source.distrust === undefined || !isRafterError(error)) throw error;
      const asksAnother = source.distrust(bytes);
      if ((tries > 1 && !asksAnother) || tries === MAX_TRIES) throw error;
    }
  }
}
