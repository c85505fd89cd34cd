/**
 * Numbers of the FUSE kernel protocol, version 7.x, little-endian as on every machine that this program supports. The
 * source of all of it is the kernel's include/uapi/linux/fuse.h.
 */

/** The version that this program speaks; the kernel adapts to it if its own minor number is higher. */
export const FUSE_MAJOR = 7;
export const FUSE_MINOR = 40;

/** Bytes of `fuse_in_header` and `fuse_out_header`. */
export const IN_HEADER_SIZE = 40;
export const OUT_HEADER_SIZE = 16;

/** Largest answer to one READ, in bytes; also what INIT asks for as `max_pages`. */
export const MAX_READ = 1 << 20;
/** The kernel refuses read(2) on the device into less than this. Requests to a read-only tree are far smaller. */
export const REQUEST_BUFFER_SIZE = 128 << 10;

/** Request codes (`enum fuse_opcode`) that a read-only tree answers. */
export const opcode = {
  LOOKUP: 1,
  FORGET: 2,
  GETATTR: 3,
  READLINK: 5,
  OPEN: 14,
  READ: 15,
  STATFS: 17,
  RELEASE: 18,
  GETXATTR: 22,
  LISTXATTR: 23,
  INIT: 26,
  OPENDIR: 27,
  READDIR: 28,
  RELEASEDIR: 29,
  INTERRUPT: 36,
  DESTROY: 38,
  BATCH_FORGET: 42,
  READDIRPLUS: 44,
} as const;

/** Flags of INIT, low 32 bits. */
export const initFlag = {
  ASYNC_READ: 1 << 0,
  DO_READDIRPLUS: 1 << 13,
  READDIRPLUS_AUTO: 1 << 14,
  ASYNC_DIO: 1 << 15,
  NO_OPEN_SUPPORT: 1 << 17,
  PARALLEL_DIROPS: 1 << 18,
  POSIX_ACL: 1 << 20,
  MAX_PAGES: 1 << 22,
  CACHE_SYMLINKS: 1 << 23,
  NO_OPENDIR_SUPPORT: 1 << 24,
  INIT_EXT: 1 << 30,
} as const;

/** Flags of INIT, high 32 bits (`flags2`). */
export const initFlag2 = {
  /** The kernel sends requests again that a server read but did not answer, when told to (Linux 6.9). */
  HAS_RESEND: 1 << 7,
} as const;

/** Flags in the answer to OPEN. */
export const openFlag = { DIRECT_IO: 1 << 0, KEEP_CACHE: 1 << 1 } as const;

/** Node id of the root of every FUSE mount. */
export const FUSE_ROOT = 1;

/** Code of the notification that makes the kernel send unanswered requests again (Linux 6.9). */
export const NOTIFY_RESEND = 7;
