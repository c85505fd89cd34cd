import { constants } from 'node:os';

/** Errors that a file system operation may answer with. */
export type FsErrorName = 'EIO' | 'ENOENT' | 'ENOTDIR' | 'EISDIR' | 'EINVAL' | 'ENODATA' | 'EINTR';

/** A failed file system operation; the reader of the mount sees exactly this errno. */
export class FsError extends Error {
  readonly errno: FsErrorName;

  constructor(errno: FsErrorName, message: string, options?: { cause?: unknown }) {
    super(`${errno}: ${message}`, options);
    this.name = 'FsError';
    this.errno = errno;
  }
}

/** The negative number that FUSE wants for whatever was thrown: EIO unless it is an FsError. */
export function negativeErrno(error: unknown): number {
  return -constants.errno[error instanceof FsError ? error.errno : 'EIO'];
}
