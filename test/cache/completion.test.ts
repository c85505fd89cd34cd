import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { completeBlob } from '../../src/cache/completion.js';
import { CLASS_LIMITS } from '../../src/cache/fetch/fetch-class.js';
import { Pace } from '../../src/cache/fetch/pace.js';
import { CacheStore } from '../../src/cache/store.js';
import { RafterError } from '../../src/errors.js';
import { noSource, SampleSource, sampleBlob } from './sample-blob.js';

const MIB = 1 << 20;
const { signal } = new AbortController();
const fast = new Pace();
let dir: string;
let store: CacheStore;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-completion-'));
  store = await CacheStore.open(dir);
});
afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true });
});

it('fetches what is missing in stored order, in large requests, and then other threads can read it', async () => {
  const blob = sampleBlob([MIB, MIB, [100, 200], MIB, MIB, MIB, MIB], { compressor: 'none' });
  const source = new SampleSource(blob.stored);
  const view = await store.acquire(blob.layout, source);
  await view.read(MIB, Buffer.alloc(1));
  expect(view.extent).toEqual({ bytes: 6 * MIB + 300, localBytes: MIB });
  source.requests.length = 0;
  expect(await completeBlob(view, { pace: fast, signal })).toBe(true);
  expect(source.requests).toEqual([
    { offset: 0, length: MIB },
    { offset: 2 * MIB, length: 2 * MIB + 300 },
    { offset: 4 * MIB + 300, length: 2 * MIB },
  ]);
  for (const { length } of source.requests)
    expect(length).toBeLessThanOrEqual(CLASS_LIMITS.completion.requestBytes);
  expect(view.isComplete).toBe(true);
  expect(view.lend()).toBeDefined();
  expect(view.extent).toEqual({ bytes: 6 * MIB + 300, localBytes: 6 * MIB + 300 });
  const target = Buffer.alloc(blob.truth.length);
  expect(view.readLocal(0, target)).toBe(true);
  expect(target.equals(blob.truth)).toBe(true);
  await store.release(view);
  expect((await store.acquire(blob.layout, noSource)).isComplete).toBe(true);
});

it('waits while a reader has something fetched', async () => {
  const blob = sampleBlob([5000, 5000]);
  const source = new SampleSource(blob.stored);
  const view = await store.acquire(blob.layout, source);
  let release: (() => void) | undefined;
  const held = new Promise<void>((resolve) => {
    release = resolve;
  });
  const read = source.read.bind(source);
  source.read = async (offset, length, ended) => {
    const bytes = await read(offset, length, ended);
    await held;
    return bytes;
  };
  const reading = view.read(0, Buffer.alloc(1));
  const completing = completeBlob(view, { pace: fast, signal });
  await vi.waitFor(() => expect(source.requests).toHaveLength(1));
  // It joins the reader's request, and has its own one queued.
  expect(store.fetchStats.classes).toMatchObject({ demand: { requests: 1 }, completion: { requests: 0 } });
  release?.();
  await reading;
  expect(await completing).toBe(true);
  expect(store.fetchStats.classes.completion.requests).toBe(1);
});

it('asks for a second of its rate at a time', async () => {
  const blob = sampleBlob([1000, 1000, 1000, 1000], { compressor: 'none' });
  const source = new SampleSource(blob.stored);
  const view = await store.acquire(blob.layout, source);
  const rate = 2000;
  const taken: number[] = [];
  const pace = { rate, take: async (bytes: number) => void taken.push(bytes) };
  expect(await completeBlob(view, { pace: pace as unknown as Pace, signal })).toBe(true);
  expect(taken).toEqual([2000, 2000]);
  expect(source.requests.map(({ length }) => length)).toEqual([2000, 2000]);
});

it('holds up bytes by the time that those before them may take', async () => {
  const pace = new Pace(1000);
  const start = performance.now();
  await pace.take(50, signal);
  await pace.take(1, signal);
  expect(performance.now() - start).toBeGreaterThanOrEqual(49);
  await pace.take(1e9, signal);
  const abort = new AbortController();
  const waiting = pace.take(1, abort.signal);
  abort.abort();
  await expect(waiting).rejects.toThrow();
});

it('stops where nothing more fits, and drives nothing out', async () => {
  const blob = sampleBlob(Array.from({ length: 20 }, () => 64 << 10));
  const small = await CacheStore.open(join(dir, 'small'), { limit: 400_000 });
  try {
    const source = new SampleSource(blob.stored);
    const view = await small.acquire(blob.layout, source);
    const step = new Pace(64 << 10);
    await view.read(0, Buffer.alloc(1));
    vi.spyOn(step, 'take').mockResolvedValue();
    expect(await completeBlob(view, { pace: step, signal })).toBe(false);
    await small.settled();
    expect(view.readLocal(0, Buffer.alloc(1))).toBe(true);
    expect(small.stats).toMatchObject({ evicted: 0, notKept: 0 });
    expect(view.extent.localBytes).toBeGreaterThan(64 << 10);
  } finally {
    await small.close();
  }
});

it('verifies again what an unclean stop left, instead of fetching it', async () => {
  const blob = sampleBlob([5000, 5000]);
  const view = await store.acquire(blob.layout, new SampleSource(blob.stored));
  await completeBlob(view, { pace: fast, signal });
  await store.release(view);
  const { writeFile, readFile } = await import('node:fs/promises');
  const data = join(dir, `${blob.layout.id}.data`);
  await writeFile(data, await readFile(data));
  const again = await store.acquire(blob.layout, noSource);
  expect(again.isComplete).toBe(false);
  expect(await completeBlob(again, { pace: fast, signal })).toBe(true);
});

it('says what the source says, and ends when it is called off', async () => {
  const blob = sampleBlob([5000]);
  const source = new SampleSource(blob.stored);
  const view = await store.acquire(blob.layout, source);
  source.meddle = () => {
    throw new RafterError('UNAVAILABLE', 'gone');
  };
  await expect(completeBlob(view, { pace: fast, signal })).rejects.toThrow('gone');
  source.delayMs = 60_000;
  const abort = new AbortController();
  const completing = completeBlob(view, { pace: fast, signal: abort.signal });
  await vi.waitFor(() => expect(source.requests).toHaveLength(2));
  abort.abort();
  await expect(completing).rejects.toMatchObject({ code: 'INTERRUPTED' });
  expect(source.aborted).toBe(1);
});
