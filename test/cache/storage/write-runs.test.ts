import { expect, it } from 'vitest';
import type { ChunkInfo } from '../../../src/cache/layout.js';
import { inRuns, joined } from '../../../src/cache/storage/write-runs.js';

const verified = (index: number, decodedOffset: number, bytes: string) => ({
  chunk: { index, decodedOffset, size: bytes.length } as ChunkInfo,
  bytes: Buffer.from(bytes),
  digest: Buffer.alloc(32),
});
const indices = (runs: ReturnType<typeof inRuns>) => runs.map((run) => run.map(({ chunk }) => chunk.index));

it('chunks that follow one another are one write, zeros between them', () => {
  const [run, ...more] = inRuns([verified(3, 0, 'ab'), verified(4, 4, 'cd'), verified(5, 6, 'e')]);
  expect(more).toEqual([]);
  // As memory is that was used before.
  const memory = { take: (size: number) => Buffer.alloc(size, 'x') };
  expect(joined(run!, memory).toString()).toBe('ab\0\0cde');
});

it('a chunk that stands between two others is not written over, however small it is', () => {
  expect(indices(inRuns([verified(0, 0, 'a'), verified(2, 2, 'c'), verified(3, 3, 'd')]))).toEqual([
    [0],
    [2, 3],
  ]);
});

it('chunks far from one another, or in another order, are written by themselves', () => {
  expect(indices(inRuns([verified(0, 0, 'a'), verified(1, 4097, 'b')]))).toEqual([[0], [1]]);
  expect(indices(inRuns([verified(1, 4096, 'b'), verified(0, 0, 'a')]))).toEqual([[0], [1]].reverse());
});
