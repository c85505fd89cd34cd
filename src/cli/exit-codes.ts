import type { ErrorCode } from '../errors.js';

/** Exit codes of every command but `run`, which has those of `docker run` (its container's, or 125 to 127). */
export const EXIT = {
  ok: 0,
  failed: 1,
  usage: 2,
  notFound: 3,
  denied: 4,
  damaged: 5,
  unsupported: 6,
} as const;

const exitCodes: Record<ErrorCode, number> = {
  FAILED: EXIT.failed,
  USAGE: EXIT.usage,
  NOT_FOUND: EXIT.notFound,
  DENIED: EXIT.denied,
  MALFORMED: EXIT.damaged,
  DIGEST_MISMATCH: EXIT.damaged,
  TRUNCATED: EXIT.damaged,
  LIMIT_EXCEEDED: EXIT.damaged,
  UNSUPPORTED: EXIT.unsupported,
  UNAVAILABLE: EXIT.failed,
  BUSY: EXIT.failed,
  NO_SPACE: EXIT.failed,
  INTERRUPTED: 130,
};

/** The exit code that tells a script what kind of failure `code` is. */
export function exitCodeOf(code: ErrorCode): number {
  return exitCodes[code];
}
