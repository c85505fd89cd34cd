/** A buffer of `size` bytes, all zero, that threads see without copying: it may be sent to them and used by both sides. */
export function sharedBuffer(size: number): Buffer {
  return Buffer.from(new SharedArrayBuffer(size));
}

/** True if other threads see the memory of `bytes` when it is sent to them. */
export function isShared(bytes: Uint8Array): boolean {
  return bytes.buffer instanceof SharedArrayBuffer;
}
