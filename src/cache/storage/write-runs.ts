import type { FileHandle } from 'node:fs/promises';
import { Borrowed } from '../../os/spare-memory.js';
import type { ChunkInfo } from '../layout.js';
import { writeFull } from './file-io.js';

/** A chunk whose bytes match `digest`. */
export interface VerifiedChunk {
  chunk: ChunkInfo;
  bytes: Buffer;
  digest: Buffer;
}

/** Bytes between two chunks that may be written along: what aligning chunks to 4096 leaves. */
const MAX_GAP = 4095;

/**
 * Chunks that lie side by side in decoded space, so that the members of a batch are one write. There is never another chunk
 * between them, whose bytes the zeros of a gap would destroy: in RAFS v5 chunks of a few bytes stand close together.
 */
export function inRuns(chunks: VerifiedChunk[]): VerifiedChunk[][] {
  const runs: VerifiedChunk[][] = [];
  let previous: ChunkInfo | undefined;
  for (const item of chunks) {
    const { chunk } = item;
    const gap = previous && chunk.decodedOffset - (previous.decodedOffset + previous.size);
    const isNext = chunk.index - 1 === previous?.index;
    if (isNext && gap !== undefined && gap >= 0 && gap <= MAX_GAP) runs.at(-1)!.push(item);
    else runs.push([item]);
    previous = chunk;
  }
  return runs;
}

/** Writes the chunks of a run to their places in the data file. Throws what write(2) says. */
export async function writeRun(file: FileHandle, run: VerifiedChunk[]): Promise<void> {
  const memory = new Borrowed();
  try {
    await writeFull(file, joined(run, memory), run[0]!.chunk.decodedOffset);
  } finally {
    memory.giveBack();
  }
}

/** The bytes of a run, with zeros in the gaps: its only chunk's own, or together in what `memory` gives. */
export function joined(run: VerifiedChunk[], memory: Pick<Borrowed, 'take'>): Buffer {
  const first = run[0]!;
  if (run.length === 1) return first.bytes;
  const last = run.at(-1)!.chunk;
  const start = first.chunk.decodedOffset;
  const bytes = memory.take(last.decodedOffset + last.size - start);
  let end = 0;
  for (const { chunk, bytes: part } of run) {
    const at = chunk.decodedOffset - start;
    bytes.fill(0, end, at);
    part.copy(bytes, at);
    end = at + part.length;
  }
  return bytes;
}
