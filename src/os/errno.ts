import { constants } from 'node:os';
import { type ErrorCode, RafterError } from '../errors.js';

/** Linux' number of an error that Node.js does not name: a file where a block device is wanted. */
const ENOTBLK = 15;

const nameByNumber = new Map<number, string>([
  [ENOTBLK, 'ENOTBLK'],
  ...Object.entries(constants.errno).map(([name, value]) => [value, name] as const),
]);

/** What a failed system call means to a user. Everything that is not here is FAILED. */
const codeByName: Partial<Record<string, ErrorCode>> = {
  EBUSY: 'BUSY',
  EWOULDBLOCK: 'BUSY',
  EAGAIN: 'BUSY',
  EPERM: 'DENIED',
  EACCES: 'DENIED',
  ENOENT: 'NOT_FOUND',
  ENODEV: 'UNSUPPORTED',
  ENOSYS: 'UNSUPPORTED',
  ENOTBLK: 'UNSUPPORTED',
  EOPNOTSUPP: 'UNSUPPORTED',
  ENOSPC: 'NO_SPACE',
  EDQUOT: 'NO_SPACE',
};

/** `EBUSY` for 16, ...; a number that this platform does not name becomes `errno 12345`. */
export function errnoName(errno: number): string {
  return nameByNumber.get(errno) ?? `errno ${errno}`;
}

/**
 * The error of a failed system call. `action` says what was tried and on what ("unmount /mnt/x"); the message ends
 * with the errno's name.
 */
export function systemError(
  errno: number,
  action: string,
  hints: Partial<Record<string, string>> = {},
): RafterError {
  const name = errnoName(errno);
  const hint = hints[name] ?? (name === 'EPERM' || name === 'EACCES' ? ROOT_HINT : undefined);
  return new RafterError(codeByName[name] ?? 'FAILED', `cannot ${action}: ${name}`, {
    ...(hint === undefined ? {} : { hint }),
  });
}

const ROOT_HINT = 'this needs root (CAP_SYS_ADMIN)';
