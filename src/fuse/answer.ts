import { constants } from 'node:os';
import { DirectoryCursors } from './directory-cursors.js';
import type { DirectoryEntry, FileSystem, NodeId } from './file-system.js';
import { FsError, negativeErrno } from './fs-error.js';
import { FUSE_ROOT, MAX_READ, OUT_HEADER_SIZE, opcode } from './protocol.js';
import {
  ATTR_OUT_SIZE,
  direntSize,
  ENTRY_OUT_SIZE,
  OPEN_OUT_SIZE,
  STATFS_OUT_SIZE,
  writeAttrOut,
  writeDirent,
  writeEntryOut,
  writeHeader,
  writeNegativeEntry,
  writeOpenOut,
  writeStatfs,
  writeXattrSize,
  XATTR_SIZE_OUT_SIZE,
} from './reply.js';
import { decodeName, decodeRead, decodeXattrName, decodeXattrRoom, type FuseRequest } from './request.js';

/** Room for any answer: the largest is one READ. */
export const REPLY_BUFFER_SIZE = OUT_HEADER_SIZE + MAX_READ;

/** A READ whose bytes are not here yet. */
export interface LaterRead {
  node: NodeId;
  offset: number;
  /** Bytes wanted. */
  size: number;
}

/** What to do about a request: write so many bytes of the reply buffer, nothing at all, or read first and answer then. */
export type Answer = number | LaterRead;

/** No answer is expected. */
const NO_ANSWER = 0;

/** Translates the kernel's requests for one mount into operations of a `FileSystem`, and their results into answers. */
export interface Answerer {
  /**
   * Writes the answer to `request` into `reply` (`REPLY_BUFFER_SIZE` bytes). Never throws: what the file system throws is
   * its errno, anything unknown EIO.
   */
  answer(request: FuseRequest, reply: Buffer): Answer;
}

export interface AnswererOptions {
  /** Told about everything that a reader gets EIO for. */
  onError?: ((operation: string, node: NodeId, error: unknown) => void) | undefined;
}

const { ENOSYS, ERANGE, EINVAL, EIO } = constants.errno;

/** The answers of `fs`, whose node ids stay valid as long as the mount lives. */
export function createAnswerer(fs: FileSystem, { onError }: AnswererOptions = {}): Answerer {
  const cursors = new DirectoryCursors((node) => fs.readdir(node));
  /** The kernel calls the root 1; the file system has an own number for it. They change places. */
  const swap = (id: number) => (id === FUSE_ROOT ? fs.root : id === fs.root ? FUSE_ROOT : id);
  const keeps = (directory: NodeId) => fs.changes?.(directory) !== true;

  function lookup(parent: NodeId, name: Buffer, reply: Buffer): number {
    const keep = keeps(parent);
    let node: NodeId;
    try {
      node = fs.lookup(parent, name);
    } catch (error) {
      if (!(error instanceof FsError) || error.errno !== 'ENOENT') throw error;
      writeNegativeEntry(reply, OUT_HEADER_SIZE, keep);
      return ENTRY_OUT_SIZE;
    }
    writeEntryOut(reply, OUT_HEADER_SIZE, { node: swap(node), attributes: fs.getattr(node), keep });
    return ENTRY_OUT_SIZE;
  }

  function list(node: NodeId, body: Buffer, { reply, plus }: { reply: Buffer; plus: boolean }): number {
    const { offset, size } = decodeRead(body);
    const end = OUT_HEADER_SIZE + Math.min(size, MAX_READ);
    const keep = keeps(node);
    let at = OUT_HEADER_SIZE;
    cursors.list(node, offset, (entry, next) => {
      const entrySize = plus ? ENTRY_OUT_SIZE : 0;
      if (at + entrySize + direntSize(entry.name) > end) return false;
      if (plus) writePlus(reply, at, entry, keep);
      at += entrySize;
      at += writeDirent(reply, at, { inode: entry.node, next, name: entry.name, mode: entry.mode });
      return true;
    });
    return at - OUT_HEADER_SIZE;
  }

  /** `.` and `..` carry no attributes: a node id of 0 says so. */
  function writePlus(reply: Buffer, at: number, { name, node }: DirectoryEntry, keep: boolean): void {
    if (isDots(name)) reply.fill(0, at, at + ENTRY_OUT_SIZE);
    else writeEntryOut(reply, at, { node: swap(node), attributes: fs.getattr(node), keep });
  }

  function xattr(value: Buffer, room: number, reply: Buffer): number {
    if (room === 0) {
      writeXattrSize(reply, OUT_HEADER_SIZE, value.length);
      return XATTR_SIZE_OUT_SIZE;
    }
    if (value.length > room) return -ERANGE;
    value.copy(reply, OUT_HEADER_SIZE);
    return value.length;
  }

  function read(node: NodeId, body: Buffer, reply: Buffer): number | LaterRead {
    const { offset, size } = decodeRead(body);
    if (size > MAX_READ) return -EINVAL;
    const target = reply.subarray(OUT_HEADER_SIZE, OUT_HEADER_SIZE + size);
    return fs.readLocal?.(node, offset, target) ?? { node, offset, size };
  }

  /** Bytes behind the header, or a negative errno. */
  function work({ opcode: code, node: id, body }: FuseRequest, reply: Buffer): number | LaterRead {
    const node = swap(id);
    switch (code) {
      case opcode.LOOKUP:
        return lookup(node, decodeName(body), reply);
      case opcode.GETATTR:
        writeAttrOut(reply, OUT_HEADER_SIZE, fs.getattr(node));
        return ATTR_OUT_SIZE;
      case opcode.READLINK:
        return fs.readlink(node).copy(reply, OUT_HEADER_SIZE);
      case opcode.READ:
        return read(node, body, reply);
      case opcode.READDIR:
        return list(node, body, { reply, plus: false });
      case opcode.READDIRPLUS:
        return list(node, body, { reply, plus: true });
      case opcode.GETXATTR:
        return xattr(fs.getxattr(node, decodeXattrName(body)), decodeXattrRoom(body), reply);
      case opcode.LISTXATTR:
        return xattr(listed(fs.listxattr(node)), decodeXattrRoom(body), reply);
      case opcode.STATFS:
        writeStatfs(reply, OUT_HEADER_SIZE, fs.statfs(node));
        return STATFS_OUT_SIZE;
      case opcode.OPEN:
        // Without an answer of its own the kernel opens and caches by itself, and asks no more.
        if (fs.open === undefined) return -ENOSYS;
        writeOpenOut(reply, OUT_HEADER_SIZE, fs.open(node));
        return OPEN_OUT_SIZE;
      case opcode.RELEASE:
        fs.release?.(node);
        return 0;
      case opcode.RELEASEDIR:
      case opcode.DESTROY:
        return 0;
      default:
        return -ENOSYS;
    }
  }

  return {
    answer(request, reply) {
      const { opcode: code, unique } = request;
      if (code === opcode.FORGET || code === opcode.BATCH_FORGET || code === opcode.INTERRUPT)
        return NO_ANSWER;
      let result: number | LaterRead;
      try {
        result = work(request, reply);
      } catch (error) {
        result = negativeErrno(error);
        if (result === -EIO) report(onError, { request, node: swap(request.node), error });
      }
      if (typeof result !== 'number') return result;
      return result < 0
        ? writeHeader(reply, unique, { errno: -result })
        : writeHeader(reply, unique, { size: result });
    },
  };
}

/** The operation's name for a log. */
function operationName(code: number): string {
  const found = Object.entries(opcode).find(([, value]) => value === code);
  return found === undefined ? `operation ${code}` : found[0].toLowerCase();
}

function report(
  onError: AnswererOptions['onError'],
  { request, node, error }: { request: FuseRequest; node: NodeId; error: unknown },
): void {
  try {
    onError?.(operationName(request.opcode), node, error);
  } catch {
    // A failing reporter must not keep the reader waiting.
  }
}

function isDots(name: Buffer): boolean {
  return name[0] === 0x2e && (name.length === 1 || (name.length === 2 && name[1] === 0x2e));
}

const ZERO = Buffer.of(0);

function listed(names: Buffer[]): Buffer {
  return Buffer.concat(names.flatMap((name) => [name, ZERO]));
}
