import type { TarEntryHead } from '../../src/convert/tar-entry.js';
import { readTar } from '../../src/convert/tar-reader.js';

/** `bytes` in pieces of `size`. */
export async function* inPieces(bytes: Buffer, size = bytes.length || 1): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

export type ReadEntry = TarEntryHead & { name: string; content: Buffer };

/** All entries of a tar with their content. */
export async function readAll(tar: Buffer, pieceSize?: number): Promise<ReadEntry[]> {
  const entries: ReadEntry[] = [];
  for await (const { body, ...head } of readTar(inPieces(tar, pieceSize), 'layer 1')) {
    const pieces: Buffer[] = [];
    for await (const piece of body) pieces.push(Buffer.from(piece));
    entries.push({ ...head, name: head.path.toString(), content: Buffer.concat(pieces) });
  }
  return entries;
}
