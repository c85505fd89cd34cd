import { type ErrorCode, errnoOf, RafterError } from '../errors.js';

/** What a system error of Node.js means to a user: the exit code, words and a hint. */
const MEANINGS: Record<string, { code: ErrorCode; words: string; hint?: string }> = {
  EACCES: {
    code: 'DENIED',
    words: 'this user may not do that',
    hint: 'choose another place, or run rafter as root',
  },
  EPERM: {
    code: 'DENIED',
    words: 'this user may not do that',
    hint: 'choose another place, or run rafter as root',
  },
  EROFS: { code: 'DENIED', words: 'the file system is read-only', hint: 'choose another place' },
  ENOENT: { code: 'NOT_FOUND', words: 'no such file or directory' },
  ENOTDIR: { code: 'FAILED', words: 'something in this path is not a directory' },
  EISDIR: { code: 'FAILED', words: 'it is a directory' },
  ENOSPC: {
    code: 'NO_SPACE',
    words: 'the disk is full',
    hint: 'make room: rafter cache prune --all gives back what is not mounted',
  },
  EDQUOT: { code: 'NO_SPACE', words: 'the quota of this user is used up' },
  EMFILE: { code: 'FAILED', words: 'too many open files', hint: 'ulimit -n 65536' },
};

/** An error of a system call with a path, as a RafterError with words for people; everything else as it is. */
export function explainSystemError(error: unknown): unknown {
  const meaning = MEANINGS[errnoOf(error) ?? ''];
  const { path, syscall } = error as { path?: unknown; syscall?: unknown };
  if (error instanceof RafterError || meaning === undefined || typeof path !== 'string') return error;
  const { code, words, hint } = meaning;
  return new RafterError(code, `${path}: ${words} (${syscall}: ${errnoOf(error)})`, {
    cause: error,
    ...(hint !== undefined && { hint }),
  });
}
