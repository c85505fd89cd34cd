import { expect, it } from 'vitest';
import { ChunkIndex } from '../../src/convert/chunk-index.js';
import type { Chunk } from '../../src/rafs/tree.js';

const digest = (fill: number) => Buffer.alloc(32, fill);
const chunk = (index: number) => ({ index }) as Chunk;

it('has each content stored once, and tells every file where it is', () => {
  const index = new ChunkIndex();
  const [one, two, three]: Chunk[][] = [[], [], []];
  const first = index.claim(digest(1), one!, 0)!;
  const second = index.claim(digest(2), one!, 1)!;
  expect(index.claim(digest(1), two!, 0)).toBeUndefined();
  expect(two).toEqual([]);
  // In whatever order they get their places.
  index.place(second, chunk(7));
  index.place(first, chunk(3));
  expect(one).toEqual([chunk(3), chunk(7)]);
  expect(two).toEqual([chunk(3)]);
  expect(index.claim(digest(2), three!, 0)).toBeUndefined();
  expect(three).toEqual([chunk(7)]);
});

it('knows a chunk that a file has twice, before and after it has its place', () => {
  const index = new ChunkIndex();
  const chunks: Chunk[] = [];
  const pending = index.claim(digest(0x80), chunks, 0)!;
  expect(index.claim(digest(0x80), chunks, 1)).toBeUndefined();
  index.place(pending, chunk(5));
  expect(index.claim(digest(0x80), chunks, 2)).toBeUndefined();
  expect(chunks).toEqual([chunk(5), chunk(5), chunk(5)]);
});

it('tells contents apart by every byte of their digests', () => {
  const index = new ChunkIndex();
  const other = digest(0xff);
  other[31] = 0xfe;
  expect(index.claim(digest(0xff), [], 0)).toBeDefined();
  expect(index.claim(other, [], 0)).toBeDefined();
});
