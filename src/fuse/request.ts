import { IN_HEADER_SIZE } from './protocol.js';

/** One request of the kernel. A view: valid until its buffer is read into again. */
export interface FuseRequest {
  opcode: number;
  /** Node id as the kernel knows it: 1 is the root of the mount. */
  node: number;
  /** The eight bytes that the answer must repeat. Not a number: bit 63 tells a request that was sent again. */
  unique: Buffer;
  /** Thread that asks, as the process that mounted sees it; 0 if that is the kernel's own. */
  thread: number;
  /** What follows the header. */
  body: Buffer;
}

/**
 * Reads the header of the request in the first `length` bytes of `buffer`. Undefined if it contradicts itself, which no
 * kernel sends.
 */
export function decodeRequest(buffer: Buffer, length: number): FuseRequest | undefined {
  if (length < IN_HEADER_SIZE || buffer.readUInt32LE(0) !== length) return undefined;
  return {
    opcode: buffer.readUInt32LE(4),
    unique: buffer.subarray(8, 16),
    node: readUInt64(buffer, 16),
    thread: buffer.readUInt32LE(32),
    body: buffer.subarray(IN_HEADER_SIZE, length),
  };
}

/** Where a READ, READDIR or READDIRPLUS starts, and how many bytes it wants at most (`fuse_read_in`). */
export function decodeRead(body: Buffer): { offset: number; size: number } {
  return { offset: readUInt64(body, 8), size: body.readUInt32LE(16) };
}

/** How much room the caller of GETXATTR or LISTXATTR has: 0 only asks for the size (`fuse_getxattr_in`). */
export function decodeXattrRoom(body: Buffer): number {
  return body.readUInt32LE(0);
}

/** The attribute's full name behind `fuse_getxattr_in`. */
export function decodeXattrName(body: Buffer): Buffer {
  return withoutZero(body.subarray(8));
}

/** The name that LOOKUP asks for. */
export function decodeName(body: Buffer): Buffer {
  return withoutZero(body);
}

/** `unique` of the request that INTERRUPT means. */
export function decodeInterrupted(body: Buffer): Buffer {
  return body.subarray(0, 8);
}

function withoutZero(bytes: Buffer): Buffer {
  const end = bytes.indexOf(0);
  return end < 0 ? bytes : bytes.subarray(0, end);
}

/** A 64-bit number as far as JavaScript counts exactly; larger ones become inexact, which no valid node or offset is. */
function readUInt64(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
}
