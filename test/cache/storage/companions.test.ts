import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { companionsOf } from '../../../src/cache/storage/companions.js';
import { CacheStore } from '../../../src/cache/store.js';
import { damage, SampleSource, sampleBlob } from '../sample-blob.js';

const WINDOW = 64 << 10;
let dir: string;
let store: CacheStore;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-companions-'));
  store = await CacheStore.open(dir);
});
afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true });
});

/** A source that gives pieces of `WINDOW` bytes, as long as `pieceBytes` says so. */
class PieceSource extends SampleSource {
  pieceBytes: number | undefined = WINDOW;
}

/** Chunks of 10 000 bytes that are stored as they are, so that every seventh lies across two windows. */
const sample = () => sampleBlob(new Array(20).fill(10_000), { compressor: 'none' });

async function open(blob = sample()) {
  const source = new PieceSource(blob.stored);
  const cache = await store.acquire(blob.layout, source);
  const read = async (index: number) => {
    const { decodedOffset, size } = blob.chunks[index]!;
    const target = Buffer.alloc(size);
    await cache.read(decodedOffset, target);
    expect(target.equals(blob.truth.subarray(decodedOffset, decodedOffset + size)), `chunk ${index}`).toBe(
      true,
    );
  };
  return { blob, source, cache, read };
}
const kept = (cache: { has(index: number): boolean }) =>
  Array.from({ length: 20 }, (_, index) => index).filter((index) => cache.has(index));

it('finds what lies whole in the windows of a chunk, and nothing else', () => {
  const { layout, chunks } = sample();
  const of = (...indices: number[]) =>
    companionsOf(
      layout,
      indices.map((index) => chunks[index]!),
      WINDOW,
    ).map(({ index }) => index);
  // Window 0 ends in chunk 6, window 1 (65536 to 131072) in chunk 13.
  expect(of(2)).toEqual([0, 1, 3, 4, 5]);
  expect(of(6)).toEqual([0, 1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12]);
  expect(of(0, 12)).toEqual([1, 2, 3, 4, 5, 7, 8, 9, 10, 11]);
  expect(of(19)).toEqual([14, 15, 16, 17, 18]);
});

it('reads a piece in one request, keeps what comes along, verified, and asks for nothing twice', async () => {
  const { source, cache, read, blob } = await open();
  await read(2);
  expect(source.requests).toEqual([{ offset: 0, length: 60_000 }]);
  await vi.waitFor(() => expect(kept(cache)).toEqual([0, 1, 2, 3, 4, 5]), 10_000);
  await read(5);
  expect(source.requests).toHaveLength(1);
  await read(6);
  expect(source.requests[1]).toEqual({ offset: 60_000, length: 70_000 });
  await read(15);
  await vi.waitFor(() => expect(kept(cache)).toHaveLength(18), 10_000);
  await read(13);
  await read(19);
  expect(kept(cache)).toHaveLength(20);
  const asked = source.requests.reduce((sum, { length }) => sum + length, 0);
  expect(asked).toBe(blob.stored.length);
});

it('lets readers of what comes along wait for the request that is on its way', async () => {
  const { source, read } = await open();
  source.delayMs = 50;
  await Promise.all([0, 1, 2, 3, 4, 5].map(read));
  expect(source.requests).toEqual([{ offset: 0, length: 60_000 }]);
});

it('reads what was asked for alone while the source has no pieces', async () => {
  const { source, read } = await open();
  source.pieceBytes = undefined;
  await read(2);
  expect(source.requests).toEqual([{ offset: 20_000, length: 10_000 }]);
});

it('reads nothing along that could not be kept', async () => {
  await store.close();
  store = await CacheStore.open(dir, { limit: 30_000 });
  const { source, read } = await open();
  await read(2);
  expect(source.requests).toEqual([{ offset: 20_000, length: 10_000 }]);
});

it('does not keep what came along damaged, and answers the reader all the same', async () => {
  const { source, cache, read } = await open();
  source.meddle = (bytes) => damage(bytes);
  await read(2);
  await vi.waitFor(() => expect(kept(cache)).toEqual([1, 2, 3, 4, 5]), 10_000);
});

it('gives up what was to be read along when the blob is released', async () => {
  const { source, cache, read } = await open();
  source.delayMs = 20;
  await read(2);
  await store.release(cache);
  expect(source.requests.length).toBeLessThanOrEqual(1);
});
