import { errnoOf, RafterError } from '../errors.js';

const WORDS: Record<string, string> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota of this user is used up',
};

/** True if a write failed because there was no space for it. */
export function isDiskFull(error: unknown): boolean {
  return Object.hasOwn(WORDS, errnoOf(error) ?? '');
}

/**
 * The error of a write to `path`: NO_SPACE, in words and with the path, if there was no space for it, otherwise `error` itself.
 * Node.js does not say which file a failed write was to.
 */
export function explainFull(error: unknown, path: string, hint?: string): unknown {
  if (error instanceof RafterError || !isDiskFull(error)) return error;
  const errno = errnoOf(error) ?? '';
  return new RafterError('NO_SPACE', `${path}: ${WORDS[errno]} (${errno})`, {
    cause: error,
    hint: hint ?? 'make room there (df -h shows how much there is), or choose another place',
  });
}
