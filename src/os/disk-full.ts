import { errnoOf, RafterError } from '../errors.js';

const WORDS: Record<string, string> = {
  ENOSPC: 'the disk is full',
  EDQUOT: 'the quota of this user is used up',
};

/**
 * The error of a write to `path`: NO_SPACE, in words and with the path, if there was no space for it, otherwise `error` itself.
 * Node.js does not say which file a failed write was to.
 */
export function explainFull(error: unknown, path: string, hint?: string): unknown {
  const errno = errnoOf(error) ?? '';
  if (error instanceof RafterError || !Object.hasOwn(WORDS, errno)) return error;
  return new RafterError('NO_SPACE', `${path}: ${WORDS[errno]} (${errno})`, {
    cause: error,
    hint: hint ?? 'make room there (df -h shows how much there is), or choose another place',
  });
}
