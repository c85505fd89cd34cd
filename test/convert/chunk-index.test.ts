import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { ChunkIndex, PendingChunk } from '../../src/convert/chunk-index.js';
import type { Chunk } from '../../src/rafs/tree.js';

const digest = (fill: number) => Buffer.alloc(32, fill);
const input = (bytes: Buffer) => ({ digest: bytes, crc: 1, size: 10 });
const chunk = (index: number, fill: number) => ({ index, digest: digest(fill) }) as Chunk;

it('has each content stored once, and tells every file where it is', () => {
  const index = new ChunkIndex();
  const [one, two, three]: Chunk[][] = [[], [], []];
  const first = index.claim(input(digest(1)), one!, 0) as PendingChunk;
  const second = index.claim(input(digest(2)), one!, 1) as PendingChunk;
  expect(index.claim(input(digest(1)), two!, 0)).toBe('image');
  expect(two).toEqual([]);
  // In whatever order they get their places.
  index.place(second, chunk(7, 2));
  index.place(first, chunk(3, 1));
  expect(one).toEqual([chunk(3, 1), chunk(7, 2)]);
  expect(two).toEqual([chunk(3, 1)]);
  expect(index.claim(input(digest(2)), three!, 0)).toBe('image');
  expect(three).toEqual([chunk(7, 2)]);
});

it('knows a chunk that a file has twice, before and after it has its place', () => {
  const index = new ChunkIndex();
  const chunks: Chunk[] = [];
  const pending = index.claim(input(digest(0x80)), chunks, 0) as PendingChunk;
  expect(index.claim(input(digest(0x80)), chunks, 1)).toBe('image');
  index.place(pending, chunk(5, 0x80));
  expect(index.claim(input(digest(0x80)), chunks, 2)).toBe('image');
  expect(chunks).toEqual([chunk(5, 0x80), chunk(5, 0x80), chunk(5, 0x80)]);
});

it('tells contents apart by every byte of their digests', () => {
  const index = new ChunkIndex();
  const other = digest(0xff);
  other[31] = 0xfe;
  expect(index.claim(input(digest(0xff)), [], 0)).toBeInstanceOf(PendingChunk);
  expect(index.claim(input(other), [], 0)).toBeInstanceOf(PendingChunk);
});

it('takes from a dictionary what the image does not have, once', () => {
  const asked: number[] = [];
  const index = new ChunkIndex({
    find: ({ digest }) => {
      asked.push(digest[0]!);
      return digest[0] === 1 ? chunk(9, 1) : undefined;
    },
  });
  const chunks: Chunk[] = [];
  const claims = [1, 1, 2, 2].map((fill, at) => index.claim(input(digest(fill)), chunks, at));
  expect(claims).toEqual(['dictionary', 'image', expect.any(PendingChunk), 'image']);
  expect(chunks).toEqual([chunk(9, 1), chunk(9, 1)]);
  expect(asked).toEqual([1, 2]);
});

it('finds each of many chunks, stored, pending and added, and forgets all of them', () => {
  const count = 10_000;
  const digests = Array.from({ length: count }, (_, i) => createHash('sha256').update(`${i}`).digest());
  const known = digests.map((bytes, index) => ({ index, digest: bytes }) as Chunk);
  const index = new ChunkIndex();
  const wanted: Chunk[] = [];
  const pending = new Map<number, PendingChunk>();
  for (const [i, bytes] of digests.entries()) {
    if (i % 3 === 0) index.add(known[i]!);
    else pending.set(i, index.claim(input(bytes), wanted, i) as PendingChunk);
    if (i % 3 === 1) index.place(pending.get(i)!, known[i]!);
  }
  const found: Chunk[] = [];
  expect(digests.map((bytes, i) => index.claim(input(bytes), found, i))).toEqual(digests.map(() => 'image'));
  for (const [i, each] of pending) if (i % 3 === 2) index.place(each, known[i]!);
  expect(found.every((each, i) => each === known[i])).toBe(true);
  expect(wanted.every((each, i) => each === known[i])).toBe(true);

  index.clear();
  expect(index.claim(input(digests[0]!), [], 0)).toBeInstanceOf(PendingChunk);
});

it('takes the chunk that was added last for a digest', () => {
  const index = new ChunkIndex();
  const [first, second] = [chunk(1, 4), chunk(2, 4)];
  index.add(first);
  index.add(second);
  const chunks: Chunk[] = [];
  index.claim(input(digest(4)), chunks, 0);
  expect(chunks[0]).toBe(second);
});
