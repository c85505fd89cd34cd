import { endianness } from 'node:os';
import { RafterError } from '../errors.js';

/** A MALFORMED error that names the file, the field and its byte offset. */
export function malformed(name: string, field: string, offset: number, problem: string): RafterError {
  return new RafterError('MALFORMED', `${name}: ${field} at offset ${offset}: ${problem}`);
}

/** `bytes` as 32-bit little-endian numbers, in place; undefined where they do not lie so or this machine reads numbers another way. */
export function wordsOf(bytes: Buffer): Uint32Array | undefined {
  if (endianness() !== 'LE' || bytes.byteOffset % 4 !== 0) return undefined;
  return new Uint32Array(bytes.buffer, bytes.byteOffset, bytes.length >>> 2);
}

/** What `wordsOf` would be, as a copy, wherever they lie. */
export function copyWords(bytes: Buffer): Uint32Array {
  return Uint32Array.from({ length: bytes.length >>> 2 }, (_, i) => bytes.readUInt32LE(4 * i));
}

/** Unsigned 64-bit little-endian number. Above 2^53 the nearest double is returned; no valid field gets there. */
export function readU64(bytes: Buffer, offset: number): number {
  return bytes.readUInt32LE(offset + 4) * 2 ** 32 + bytes.readUInt32LE(offset);
}

/** Signed 64-bit little-endian number, rounded like `readU64`. */
export function readI64(bytes: Buffer, offset: number): number {
  return bytes.readInt32LE(offset + 4) * 2 ** 32 + bytes.readUInt32LE(offset);
}

/** Writes an integer from 0 to 2^53 - 1 as 64 bits, little-endian. */
export function writeU64(bytes: Buffer, value: number, offset: number): void {
  bytes.writeUInt32LE(value % 2 ** 32, offset);
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), offset + 4);
}

/** Writes an integer from -(2^53 - 1) to 2^53 - 1 as signed 64 bits, little-endian. */
export function writeI64(bytes: Buffer, value: number, offset: number): void {
  bytes.writeInt32LE(Math.floor(value / 2 ** 32), offset + 4);
  bytes.writeUInt32LE(value - Math.floor(value / 2 ** 32) * 2 ** 32, offset);
}

/** The bytes before the first NUL of a fixed-size field, one character per byte. */
export function readPaddedText(bytes: Buffer, offset: number, size: number): string {
  const field = bytes.subarray(offset, offset + size);
  const end = field.indexOf(0);
  return field.toString('latin1', 0, end < 0 ? size : end);
}
