import { koffi, libc } from './libc.js';

/**
 * Memory of native code, by address. Nothing here can check an address: a wrong one ends the process. Callers say
 * where their addresses come from and how long they stay valid.
 */

/** Writes `bytes` at `address`. */
export function copyToMemory(address: bigint, bytes: Buffer): void {
  if (bytes.length > 0) libc().memcpy(address, bytes, bytes.length);
}

/** A copy of the C string at `address`, without its NUL, as the bytes it has. */
export function cStringAt(address: bigint): Buffer {
  const bytes = Buffer.allocUnsafe(Number(libc().strlen(address)));
  if (bytes.length > 0) libc().memcpy(bytes, address, bytes.length);
  return bytes;
}

/** A JavaScript function that calls a C function of type `prototype` (C syntax without a name) by its address. */
export function functionCaller(prototype: string): (address: bigint, ...args: unknown[]) => unknown {
  const ffi = koffi();
  const type = ffi.proto(prototype);
  return (address, ...args) => ffi.call(address, type, ...args);
}

/** Loads a shared library so that later libraries find its symbols and are satisfied by its SONAME. */
export function preloadLibrary(path: string): void {
  koffi().load(path, { global: true });
}
