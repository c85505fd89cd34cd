import { constants } from 'node:os';
import type { FileSystem } from './file-system.js';
import { negativeErrno } from './fs-error.js';
import type { FuseNativeBinding, NativeHandler, RequestHandle } from './native-binding.js';
import * as native from './native-request.js';
import type { PathResolver } from './path-resolver.js';

/** What the handlers work on. They live as long as the process, so the file system is taken from them at the end. */
export interface Served {
  fs: FileSystem | undefined;
  resolver: PathResolver | undefined;
  /** Told about everything that a reader gets EIO for. */
  onError: ((operation: string, path: string, error: unknown) => void) | undefined;
}

/** Size of the table of handlers in the addon. */
const MAX_OPERATIONS = 35;

const EIO = -constants.errno.EIO;

/** Fills the gaps of the handler table, which the addon wants without holes. Never called: not `implemented`. */
export const unserved: NativeHandler = () => {};

/**
 * The table of handlers for the addon, indexed by operation number. Every request is answered exactly once, whatever
 * the file system throws: a request without an answer would keep its reader waiting for ever.
 */
export function makeHandlers(binding: FuseNativeBinding, served: Served): NativeHandler[] {
  const handlers: NativeHandler[] = new Array(MAX_OPERATIONS).fill(unserved);
  const answer =
    (operation: string, work: (request: RequestHandle, target: Target) => void): NativeHandler =>
    (request) => {
      const result = attempt(served, operation, request, (target) => {
        work(request, target);
        return 0;
      });
      process.nextTick(binding.fuse_native_signal_access, request, result);
    };

  handlers[binding.op_getattr] = answer('getattr', (request, { fs, node }) =>
    native.writeAttributes(request, fs.getattr(node)),
  );
  handlers[binding.op_readlink] = answer('readlink', (request, { fs, node }) =>
    native.writeLinkTarget(request, fs.readlink(node)),
  );
  handlers[binding.op_readdir] = answer('readdir', (request, { fs, node }) =>
    native.writeEntries(request, fs.readdir(node)),
  );
  handlers[binding.op_statfs] = answer('statfs', (request, { fs, node }) =>
    native.writeStats(request, fs.statfs(node)),
  );

  const getxattr = (request: RequestHandle, _op: number, _path: string, _name: string, room: Buffer) => {
    const result = attempt(served, 'getxattr', request, ({ fs, node }) =>
      fitInto(room, fs.getxattr(node, native.requestXattrName(request))),
    );
    process.nextTick(binding.fuse_native_signal_getxattr, request, result, room.buffer);
  };
  handlers[binding.op_getxattr] = getxattr as NativeHandler;

  const listxattr = (request: RequestHandle, _op: number, _path: string, room: Buffer) => {
    const result = attempt(served, 'listxattr', request, ({ fs, node }) =>
      fitInto(room, Buffer.concat(fs.listxattr(node).flatMap((name) => [name, Buffer.of(0)]))),
    );
    process.nextTick(binding.fuse_native_signal_listxattr, request, result, room.buffer);
  };
  handlers[binding.op_listxattr] = listxattr as NativeHandler;

  const read = (
    request: RequestHandle,
    _op: number,
    _path: string,
    _handle: number,
    lent: Buffer,
    length: number,
    offsetLow: number,
    offsetHigh: number,
  ) => {
    const offset = offsetHigh * 2 ** 32 + offsetLow;
    readInto(served, request, { lent: lent.subarray(0, length), offset }).then((result) =>
      binding.fuse_native_signal_read(request, result, Math.max(result, 0), lent.buffer),
    );
  };
  handlers[binding.op_read] = read as NativeHandler;
  return handlers;
}

interface Target {
  fs: FileSystem;
  node: number;
}

/** The file and its file system. Fails with EIO once the mount has ended. */
function findTarget(served: Served, path: Buffer): Target {
  if (served.fs === undefined || served.resolver === undefined) throw new Error('the mount has ended');
  return { fs: served.fs, node: served.resolver.resolve(path) };
}

/** Runs one operation; whatever it throws becomes a negative errno. */
function attempt(
  served: Served,
  operation: string,
  request: RequestHandle,
  work: (target: Target) => number,
): number {
  let path: Buffer | undefined;
  try {
    path = native.requestPath(request);
    return work(findTarget(served, path));
  } catch (error) {
    return report(served, operation, path, error);
  }
}

/**
 * Reads into memory of our own and copies: the lent memory goes back to libfuse with the answer, and must have no
 * other reader or writer then.
 */
async function readInto(
  served: Served,
  request: RequestHandle,
  { lent, offset }: { lent: Buffer; offset: number },
): Promise<number> {
  let path: Buffer | undefined;
  try {
    path = native.requestPath(request);
    const { fs, node } = findTarget(served, path);
    const bytes = Buffer.allocUnsafe(lent.length);
    const length = await fs.read(node, offset, bytes);
    bytes.copy(lent, 0, 0, length);
    return length;
  } catch (error) {
    return report(served, 'read', path, error);
  }
}

/**
 * Copies `value` into the caller's memory and returns its length; with no memory at all the caller only asks for the
 * length; too little is ERANGE, as getxattr(2) says.
 */
function fitInto(room: Buffer, value: Buffer): number {
  if (room.length > 0 && value.length > room.length) return -constants.errno.ERANGE;
  value.copy(room);
  return value.length;
}

function report(served: Served, operation: string, path: Buffer | undefined, error: unknown): number {
  const result = negativeErrno(error);
  try {
    if (result === EIO) served.onError?.(operation, path?.toString() ?? '?', error);
  } catch {
    // A failing reporter must not keep the reader waiting.
  }
  return result;
}
