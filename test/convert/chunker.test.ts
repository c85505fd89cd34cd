import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ChunkBuffers } from '../../src/convert/chunk-buffers.js';
import { cutChunks } from '../../src/convert/chunker.js';
import { HOLE } from '../../src/convert/tar-sparse.js';

async function* of(pieces: Buffer[]): AsyncGenerator<Buffer> {
  yield* pieces;
}

async function cut(pieces: Buffer[], chunkSize: number): Promise<Buffer[]> {
  const size = pieces.reduce((sum, piece) => sum + piece.length, 0);
  const buffers = new ChunkBuffers(chunkSize);
  const chunks: Buffer[] = [];
  for await (const chunk of cutChunks(of(pieces), size, { chunkSize, buffers })) {
    // Given back at once: a chunk must not be needed for the next one.
    chunks.push(Buffer.from(chunk));
    buffers.give(chunk);
  }
  return chunks;
}

describe('cutting files into chunks', () => {
  it('gives the same chunks however the bytes arrive (seed 20260724)', async () => {
    const pieces = fc.array(fc.uint8Array({ maxLength: 70 }), { maxLength: 20 });
    await fc.assert(
      fc.asyncProperty(pieces, fc.integer({ min: 1, max: 64 }), async (parts, chunkSize) => {
        const whole = Buffer.concat(parts);
        const chunks = await cut(
          parts.map((part) => Buffer.from(part)),
          chunkSize,
        );
        expect(Buffer.concat(chunks)).toEqual(whole);
        expect(chunks).toHaveLength(Math.ceil(whole.length / chunkSize));
        for (const chunk of chunks.slice(0, -1)) expect(chunk).toHaveLength(chunkSize);
      }),
      { seed: 20260724, numRuns: 300 },
    );
  });

  it('copies nothing that came in one piece', async () => {
    const piece = Buffer.alloc(250, 1);
    const buffers = new ChunkBuffers(100);
    const chunks: Buffer[] = [];
    for await (const chunk of cutChunks(of([piece]), 250, { chunkSize: 100, buffers })) chunks.push(chunk);
    expect(chunks.map(({ length }) => length)).toEqual([100, 100, 50]);
    expect(chunks.every((chunk) => chunk.buffer === piece.buffer)).toBe(true);
  });

  it('hands whole holes on as they are, and fills them in elsewhere', async () => {
    const buffers = new ChunkBuffers(HOLE.length);
    const chunks: Buffer[] = [];
    const size = 2 * HOLE.length + 3;
    const context = { chunkSize: HOLE.length, buffers };
    for await (const chunk of cutChunks(of([HOLE, Buffer.from('abc'), HOLE]), size, context))
      chunks.push(chunk);
    expect(chunks[0]).toBe(HOLE);
    expect(chunks[1]!.subarray(0, 4)).toEqual(Buffer.from('abc\0'));
    expect(chunks[2]).toEqual(Buffer.alloc(3));
    expect(await cut([HOLE], 4096)).toHaveLength(HOLE.length / 4096);
  });
});

describe('chunk buffers', () => {
  it('are used again once they are given back, by any slice', () => {
    const buffers = new ChunkBuffers(16);
    const one = buffers.take();
    expect(buffers.take()).not.toBe(one);
    buffers.give(one.subarray(3, 5));
    expect(buffers.take()).toBe(one);
  });

  it('do not mix with buffers from elsewhere, nor take one back twice', () => {
    const buffers = new ChunkBuffers(16);
    buffers.give(Buffer.allocUnsafeSlow(16));
    const one = buffers.take();
    buffers.give(one);
    buffers.give(one);
    expect(buffers.take()).toBe(one);
    expect(buffers.take()).not.toBe(one);
  });
});
