import { type ErrorCode, errnoOf, messageOf, RafterError } from '../errors.js';

/** What a system error of Node.js means to a user: the exit code, words and a hint. */
const ELSEWHERE = 'choose another place';
const MEANINGS: Record<string, { code: ErrorCode; words: string; hint: string }> = {
  EACCES: {
    code: 'DENIED',
    words: 'this user may not do that',
    hint: `${ELSEWHERE}, or run rafter as root`,
  },
  EPERM: {
    code: 'DENIED',
    words: 'this user may not do that',
    hint: `${ELSEWHERE}, or run rafter as root`,
  },
  EROFS: { code: 'DENIED', words: 'the file system is read-only', hint: ELSEWHERE },
  ENOENT: {
    code: 'NOT_FOUND',
    words: 'no such file or directory',
    hint: 'check the path: ls shows what there is',
  },
  ENOTDIR: {
    code: 'FAILED',
    words: 'something in this path is not a directory',
    hint: `${ELSEWHERE}, or move that file away`,
  },
  EEXIST: {
    code: 'FAILED',
    words: 'something else is there already',
    hint: `${ELSEWHERE}, or move away what is there`,
  },
  EISDIR: { code: 'FAILED', words: 'it is a directory', hint: 'name a file' },
  ELOOP: {
    code: 'FAILED',
    words: 'symbolic links lead around in a circle',
    hint: `${ELSEWHERE}, or mend the link`,
  },
  ENAMETOOLONG: { code: 'USAGE', words: 'the name is too long', hint: 'choose a shorter one' },
  ENOSPC: {
    code: 'NO_SPACE',
    words: 'the disk is full',
    hint: 'make room: rafter cache prune --all gives back what is not mounted',
  },
  EDQUOT: {
    code: 'NO_SPACE',
    words: 'the quota of this user is used up',
    hint: 'make room: quota shows what is used',
  },
  ENXIO: { code: 'FAILED', words: 'it is a socket or device, not a file', hint: 'name a file' },
  EMFILE: { code: 'FAILED', words: 'too many open files', hint: 'ulimit -n 65536' },
};

/** What a system error means, in words for people and its errno; the message of any other error. */
export function systemReason(error: unknown): string {
  const errno = errnoOf(error) ?? '';
  const meaning = error instanceof RafterError ? undefined : MEANINGS[errno];
  return meaning === undefined ? messageOf(error) : `${meaning.words} (${errno})`;
}

/** What can be done about an error: what it says itself, or what the system error that it is or was caused by lets one do. */
export function hintOf(error: unknown): string | undefined {
  if (!(error instanceof RafterError)) return MEANINGS[errnoOf(error) ?? '']?.hint;
  return error.hint ?? (error.cause === undefined ? undefined : hintOf(error.cause));
}

/** An error of a system call with a path, as a RafterError with words for people; everything else as it is. */
export function explainSystemError(error: unknown): unknown {
  const meaning = MEANINGS[errnoOf(error) ?? ''];
  const { path, syscall } = error as { path?: unknown; syscall?: unknown };
  if (error instanceof RafterError || meaning === undefined || typeof path !== 'string') return error;
  const { code, words, hint } = meaning;
  const message = `${path}: ${words} (${syscall}: ${errnoOf(error)})`;
  return new RafterError(code, message, { cause: error, hint });
}
