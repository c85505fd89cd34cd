import { expect } from 'vitest';
import { sha256 } from '../../src/codec/digest.js';
import type { TarEntry, TarEntryHead } from '../../src/convert/tar-entry.js';
import { readTar } from '../../src/convert/tar-reader.js';
import { type ScannedEntry, scanTar } from '../../src/convert/tar-scan.js';

/** `bytes` in pieces of `size`. */
export async function* inPieces(bytes: Buffer, size = bytes.length || 1): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export type ReadEntry = TarEntryHead & { name: string; content: Buffer };

/** The two readers of tars, which must not differ in anything. */
export const READERS = { readTar, scanTar };
export type Reader = keyof typeof READERS;

/** All entries of a tar with their content; or the error. Both readers give the same. */
export async function readAll(tar: Buffer, pieceSize?: number): Promise<ReadEntry[]> {
  const [read, scanned] = await Promise.allSettled([
    collect(readTar(inPieces(tar, pieceSize), 'layer 1')),
    collect(scanTar(inPieces(tar, pieceSize), 'layer 1')),
  ]);
  // Comparing large buffers byte by byte would take most of the tests' time.
  const brief = (result: PromiseSettledResult<ReadEntry[]>) =>
    result.status === 'rejected'
      ? result
      : result.value.map((entry) => ({ ...entry, content: sha256(entry.content).toString('hex') }));
  expect(brief(scanned)).toEqual(brief(read));
  if (read.status === 'rejected') throw read.reason;
  return read.value;
}

async function collect(entries: AsyncIterable<TarEntry | ScannedEntry>): Promise<ReadEntry[]> {
  const found: ReadEntry[] = [];
  for await (const entry of entries) {
    const { body, ...head } = entry;
    const whole = 'content' in entry && entry.content ? Buffer.from(entry.content) : undefined;
    const pieces: Buffer[] = [];
    for await (const piece of body) pieces.push(Buffer.from(piece));
    const content = Buffer.concat(pieces);
    if (whole && !whole.equals(content)) throw new Error('the content at hand is not that of the body');
    found.push({ ...head, name: head.path.toString(), content });
  }
  return found;
}
