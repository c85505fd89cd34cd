import { RafterError } from '../errors.js';
import {
  FUSE_MAJOR,
  FUSE_MINOR,
  initFlag,
  initFlag2,
  MAX_READ,
  OUT_HEADER_SIZE,
  opcode,
} from './protocol.js';
import type { FuseRequest } from './request.js';

/** Bytes of `fuse_init_out`. */
const INIT_OUT_SIZE = 64;
const PAGE_SIZE = 4096;
/** The oldest protocol that has all the structures we write in their present size (Linux 4.20: `max_pages`). */
const OLDEST_MINOR = 28;

/** What both sides agreed on. Outlives the server: its successor gets no second INIT. */
export interface Negotiated {
  minor: number;
  /** Unanswered requests can be sent again to a successor. */
  resend: boolean;
}

const WANTED =
  initFlag.ASYNC_READ |
  initFlag.DO_READDIRPLUS |
  initFlag.READDIRPLUS_AUTO |
  initFlag.NO_OPEN_SUPPORT |
  initFlag.PARALLEL_DIROPS |
  initFlag.POSIX_ACL |
  initFlag.MAX_PAGES |
  initFlag.CACHE_SYMLINKS |
  initFlag.NO_OPENDIR_SUPPORT |
  initFlag.INIT_EXT;

/**
 * The answer to the kernel's INIT (`request`), header included, and what was agreed. Reads of 1 MiB, directories
 * with attributes, links and empty lookups cached, requests sent again to a successor, as far as the kernel has it. With
 * `parallel` a loop device on a file may have many reads under way at once.
 * Throws UNSUPPORTED for a kernel whose protocol is too old.
 */
export function answerInit(
  request: FuseRequest,
  { parallel = false }: { parallel?: boolean | undefined } = {},
): { reply: Buffer; negotiated: Negotiated } {
  const { body } = request;
  const major = body.readUInt32LE(0);
  const minor = body.readUInt32LE(4);
  if (major !== FUSE_MAJOR || minor < OLDEST_MINOR)
    throw new RafterError('UNSUPPORTED', `the kernel speaks FUSE ${major}.${minor}`, {
      hint: `this needs ${FUSE_MAJOR}.${OLDEST_MINOR} (Linux 4.20); libfuse works with older ones: --transport libfuse`,
    });
  const offered = body.readUInt32LE(12);
  const extended = (offered & initFlag.INIT_EXT) !== 0;
  const offered2 = extended && body.length >= 20 ? body.readUInt32LE(16) : 0;
  const wanted = parallel ? WANTED | initFlag.ASYNC_DIO : WANTED;
  const flags = (offered & wanted) >>> 0;
  const flags2 = offered2 & initFlag2.HAS_RESEND;

  const reply = Buffer.alloc(OUT_HEADER_SIZE + INIT_OUT_SIZE);
  reply.writeUInt32LE(reply.length, 0);
  request.unique.copy(reply, 8);
  const out = reply.subarray(OUT_HEADER_SIZE);
  out.writeUInt32LE(FUSE_MAJOR, 0);
  out.writeUInt32LE(FUSE_MINOR, 4);
  out.writeUInt32LE(MAX_READ, 8); // max_readahead: the kernel takes the smaller of this and its own
  out.writeUInt32LE(flags, 12);
  out.writeUInt16LE(MAX_BACKGROUND, 16);
  out.writeUInt16LE(MAX_BACKGROUND, 18); // congestion_threshold
  out.writeUInt32LE(MIN_MAX_WRITE, 20);
  out.writeUInt32LE(1, 24); // time_gran: nanoseconds
  out.writeUInt16LE(MAX_READ / PAGE_SIZE, 28);
  out.writeUInt32LE(flags2, 32);
  return { reply, negotiated: { minor, resend: flags2 !== 0 } };
}

/** Reads ahead that the kernel may have under way at once: each is a fetch that may wait for a registry. */
const MAX_BACKGROUND = 64;
/** Nothing is ever written; the kernel wants at least a page. */
const MIN_MAX_WRITE = PAGE_SIZE;

/** True for a request that is INIT and long enough to be one. */
export function isInit(request: FuseRequest): boolean {
  return request.opcode === opcode.INIT && request.body.length >= 16;
}
