import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { ReadAhead } from '../../../src/cache/fetch/read-ahead.js';
import { TrustedReader } from '../../../src/cache/storage/shared-trust.js';
import { CacheStore } from '../../../src/cache/store.js';
import { SampleSource, sampleBlob } from '../sample-blob.js';

const CHUNK = 256 << 10;
const LARGE = 128 << 10;

/** What is asked for ahead of the readers of a blob of `count` chunks. */
function setUp(count: number, size = CHUNK) {
  const { layout } = sampleBlob([1]);
  const chunk = (index: number) => ({ ...layout.chunk(0), index, decodedOffset: index * size, size });
  const whole = {
    ...layout,
    chunkCount: count,
    decodedSize: count * size,
    chunk,
    chunkAtDecoded: (offset: number) => Math.min(count, Math.floor(offset / size)),
  };
  const asked: number[][] = [];
  const ahead = new ReadAhead(whole, async (indices) => {
    asked.push(indices);
    return true;
  });
  const read = (offset: number, length = LARGE) => {
    const indices: number[] = [];
    for (let at = Math.floor(offset / size); at * size < offset + length && at < count; at++)
      indices.push(at);
    ahead.note(indices.map(chunk), offset, length);
  };
  return { read, asked, ahead: whole };
}

it('asks for more and more ahead of a reader that goes on, never twice for the same', () => {
  const { read, asked } = setUp(400);
  for (let at = 0; at < 300; at++) read(at * CHUNK);
  const all = asked.flat();
  expect(new Set(all).size).toBe(all.length);
  expect(all).toEqual(Array.from({ length: all.length }, (_, i) => i + 2));
  const sizes = asked.map(({ length }) => length * CHUNK);
  expect(sizes[0]).toBe(2 << 20);
  expect(Math.max(...sizes)).toBeGreaterThan(6 << 20);
  // Never further ahead than the largest window.
  expect(all.at(-1)! * CHUNK).toBeLessThan(300 * CHUNK + (16 << 20));
});

it('ends with the blob', () => {
  const { read, asked } = setUp(10);
  for (let at = 0; at < 10; at++) read(at * CHUNK);
  expect(asked.flat()).toEqual([2, 3, 4, 5, 6, 7, 8, 9]);
});

it('asks for nothing for random reads, small or large, nor for those that go backwards', () => {
  const { read, asked } = setUp(1000);
  // A step through the blob that never goes on where it was.
  for (let i = 0; i < 1000; i++) read(((i * 337) % 1000) * CHUNK + ((i * 4096) % CHUNK), 4096);
  for (let i = 0; i < 1000; i++) read(((i * 611) % 1000) * CHUNK);
  // Small reads from chunk to chunk, but nowhere where one ends and the next begins.
  for (let i = 0; i < 1000; i++) read(i * CHUNK + 4096, 4096);
  for (let at = 999; at >= 0; at--) read(at * CHUNK);
  expect(asked).toEqual([]);
});

it('needs two steps of small reads, and a run that is longer than a few small files', () => {
  const small = setUp(1000);
  for (const at of [0, 1]) small.read(at * CHUNK, 4096);
  expect(small.asked).toEqual([]);
  small.read(2 * CHUNK, 4096);
  expect(small.asked).toHaveLength(1);
  const files = setUp(1000, 4096);
  for (let at = 0; at < 60; at++) files.read(at * 4096, 4096);
  expect(files.asked).toEqual([]);
  for (let at = 60; at < 66; at++) files.read(at * 4096, 4096);
  expect(files.asked).toHaveLength(1);
});

it('tells several readers apart', () => {
  const { read, asked } = setUp(1000);
  for (let at = 0; at < 4; at++) for (const start of [0, 300, 600]) read((start + at) * CHUNK);
  const firsts = asked.map(([first]) => first!);
  expect(firsts.filter((first) => first < 300).length).toBeGreaterThan(0);
  expect(firsts.filter((first) => first >= 300 && first < 600).length).toBeGreaterThan(0);
  expect(firsts.filter((first) => first >= 600).length).toBeGreaterThan(0);
});

it('does not mind that the kernel asks out of order', () => {
  const { read, asked } = setUp(100);
  for (const at of [0, 1, 3, 2, 4, 6, 5, 7]) read(at * CHUNK);
  const all = asked.flat();
  expect(new Set(all).size).toBe(all.length);
  expect(all.length).toBeGreaterThan(10);
});

let dir: string;
let store: CacheStore;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-ahead-'));
  store = await CacheStore.open(dir);
});
afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true });
});

it('lets a sequential reader find nearly everything, fetched once, also where another thread reads what is here', async () => {
  const blob = sampleBlob(Array.from({ length: 60 }, () => CHUNK));
  const source = new SampleSource(blob.stored);
  const view = await store.acquire(blob.layout, source);
  const reader = new TrustedReader(view.share()!);
  try {
    for (let offset = 0; offset < blob.truth.length; offset += LARGE) {
      const target = Buffer.alloc(LARGE);
      if (!reader.readLocal(offset, target)) await view.read(offset, target);
      expect(target.equals(blob.truth.subarray(offset, offset + LARGE))).toBe(true);
    }
  } finally {
    reader.close();
  }
  const { classes } = store.fetchStats;
  expect(classes.demand.fetchedBytes + classes.readahead.fetchedBytes).toBe(blob.stored.length);
  expect(classes.readahead.fetchedBytes).toBeGreaterThan(classes.demand.fetchedBytes);
  expect(source.requests.reduce((sum, { length }) => sum + length, 0)).toBe(blob.stored.length);
});

it('goes on with what was asked for after a failure, and ends with the view', async () => {
  const blob = sampleBlob(Array.from({ length: 40 }, () => CHUNK));
  const source = new SampleSource(blob.stored);
  source.delayMs = 5;
  source.meddle = (bytes, request) => {
    if (request % 3 === 2) throw new Error('gone');
    return bytes;
  };
  const view = await store.acquire(blob.layout, source);
  for (let offset = 0; offset < blob.truth.length; offset += CHUNK) {
    const target = Buffer.alloc(CHUNK);
    await vi.waitFor(() => view.read(offset, target), { timeout: 20_000, interval: 1 });
    expect(target.equals(blob.truth.subarray(offset, offset + CHUNK))).toBe(true);
  }
  await store.release(view);
});
