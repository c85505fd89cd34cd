import { ociDigest } from '../../src/codec/digest.js';
import { PackWriter, type WrittenPack } from '../../src/startup/pack-writer.js';
import type { PackReference } from '../../src/startup/read-pack.js';

/** Pieces to be packed: blob, offset, bytes. */
export type SamplePiece = [blob: string, offset: number, bytes: Buffer];

/** `length` bytes that do not repeat soon and shrink a little. */
export function sampleBytes(length: number, seed = 1): Buffer {
  const bytes = Buffer.alloc(length);
  let state = seed;
  for (let i = 0; i < length; i++) {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    bytes[i] = (state >> 16) & 0x3f;
  }
  return bytes;
}

/** A pack, its file, and what a manifest would say of it. */
export function packOf(pieces: SamplePiece[], options?: { readAhead?: number }) {
  const writer = new PackWriter(options);
  for (const [blob, offset, bytes] of pieces) writer.add(blob, offset, bytes);
  const written = writer.finish();
  return { written, file: Buffer.concat(written.parts), reference: referenceTo(written) };
}

function referenceTo({ parts, size }: WrittenPack): PackReference {
  return { name: 'pack', size, tableSize: parts[0]!.length, tableDigest: ociDigest(parts[0]!) };
}

/** A stream of `bytes` in parts of `step`. */
export async function* inSteps(bytes: Buffer, step: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += step) yield bytes.subarray(at, at + step);
}
