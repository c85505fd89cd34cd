import type { FileHandle } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { RafterError } from '../errors.js';

/** Bytes per read of a file; large enough that the cost per call does not count. */
const READ_SIZE = 1 << 20;

/** Part of a file, in bytes. */
export interface FileRange {
  offset: number;
  size: number;
}

/** Reads exactly the range of an open file; TRUNCATED, naming the file as `name`, if that ends before. */
export async function readExactly(
  handle: FileHandle,
  { offset, size }: FileRange,
  name: string,
): Promise<Buffer> {
  const bytes = Buffer.allocUnsafe(size);
  let done = 0;
  while (done < size) {
    const { bytesRead } = await handle.read(bytes, done, size - done, offset + done);
    if (bytesRead === 0) {
      throw new RafterError(
        'TRUNCATED',
        `${name}: ends at ${offset + done}, ${offset + size} bytes were needed`,
      );
    }
    done += bytesRead;
  }
  return bytes;
}

/**
 * The range of an open file as a stream, which stays the caller's to close. Many may be read at the same time. Errors as
 * `readExactly`.
 */
export function streamRange(handle: FileHandle, range: FileRange, name: string): Readable {
  return Readable.from(piecesOf(handle, range, name), { objectMode: false, highWaterMark: READ_SIZE });
}

async function* piecesOf(
  handle: FileHandle,
  { offset, size }: FileRange,
  name: string,
): AsyncGenerator<Buffer> {
  const end = offset + size;
  for (let at = offset; at < end; at += READ_SIZE) {
    yield await readExactly(handle, { offset: at, size: Math.min(READ_SIZE, end - at) }, name);
  }
}
