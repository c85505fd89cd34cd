import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { BlobCache } from '../../../src/cache/blob-cache.js';
import { setPin } from '../../../src/cache/quota/catalog.js';
import { diskUse, evictChunks } from '../../../src/cache/quota/evict.js';
import { listCache } from '../../../src/cache/quota/inventory.js';
import { scrubBlob } from '../../../src/cache/scrub.js';
import { TrustedReader } from '../../../src/cache/storage/shared-trust.js';
import { CacheStore } from '../../../src/cache/store.js';
import { noSource, type SampleBlob, SampleSource, sampleBlob } from '../sample-blob.js';

const size = 64 << 10;
let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-quota-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

const sample = (letter: string, chunks: number) =>
  sampleBlob(
    Array.from({ length: chunks }, () => size),
    { id: letter.repeat(64) },
  );

async function read(view: BlobCache, blob: SampleBlob, index: number): Promise<void> {
  const target = Buffer.alloc(size, 0xee);
  await view.read(index * size, target);
  expect(target.equals(blob.truth.subarray(index * size, (index + 1) * size))).toBe(true);
}

it('what is read keeps the cache below its limit, and is right', async () => {
  const limit = 20 * size;
  const blob = sample('a', 60);
  const store = await CacheStore.open(dir, { limit });
  try {
    const view = await store.acquire(blob.layout, new SampleSource(blob.stored));
    for (let round = 0; round < 2; round++)
      for (let index = 0; index < 60; index++) {
        await read(view, blob, index);
        await store.settled();
        expect(await diskUse(store)).toBeLessThanOrEqual(limit);
      }
    expect(store.stats.evicted).toBeGreaterThan(60);
    expect(store.quota).toMatchObject({ limit });
  } finally {
    await store.close();
  }
});

it('takes the least recently used first: blobs, then chunks, pinned ones last', async () => {
  const blobs = { old: sample('a', 4), pinned: sample('b', 4), recent: sample('c', 4) };
  const store = await CacheStore.open(dir);
  try {
    for (const blob of Object.values(blobs)) {
      const view = await store.acquire(blob.layout, new SampleSource(blob.stored));
      for (let index = 0; index < 4; index++) await read(view, blob, index);
      await store.release(view);
    }
    await setPin(dir, blobs.pinned.layout.id, true);
    const now = Date.now();
    const view = await store.acquire(blobs.recent.layout, noSource);
    const later = Date.now;
    Date.now = () => now + 5000;
    try {
      await read(view, blobs.recent, 2);
    } finally {
      Date.now = later;
    }
    const local = async () =>
      Object.fromEntries((await listCache(store)).map(({ id, localChunks }) => [id[0], localChunks]));
    expect(await evictChunks(store, 4 * size)).toBeGreaterThanOrEqual(4 * size);
    expect(await local()).toEqual({ b: 4, c: 4 });
    expect(await evictChunks(store, 3 * size)).toBe(3 * size);
    expect(await local()).toEqual({ b: 4, c: 1 });
    expect(view.readLocal(2 * size, Buffer.alloc(size))).toBe(true);
    expect(await evictChunks(store, 3 * size)).toBe(3 * size);
    expect(await local()).toEqual({ b: 2, c: 0 });
  } finally {
    await store.close();
  }
});

it('what is lent to the kernel stays whole', async () => {
  const blob = sample('a', 4);
  const store = await CacheStore.open(dir);
  try {
    const view = await store.acquire(blob.layout, new SampleSource(blob.stored));
    expect(view.lend()).toBeUndefined();
    for (let index = 0; index < 4; index++) await read(view, blob, index);
    const later = await store.acquire(blob.layout, noSource);
    expect(later.lend()).toBeDefined();
    expect(await evictChunks(store, 100 * size)).toBe(0);
    expect(later.isComplete).toBe(true);
  } finally {
    await store.close();
  }
});

it('makes room for a chunk that does not fit, although the cache is below its watermark', async () => {
  const blob = sample('a', 4);
  const store = await CacheStore.open(dir, { limit: 2.5 * size });
  try {
    const view = await store.acquire(blob.layout, new SampleSource(blob.stored));
    for (const index of [0, 1, 2, 2]) {
      await read(view, blob, index);
      await store.settled();
    }
    expect(view.readLocal(2 * size, Buffer.alloc(size))).toBe(true);
    expect(store.stats.notKept).toBe(1);
    expect(store.stats.evicted).toBeGreaterThan(0);
  } finally {
    await store.close();
  }
});

it('where there is no room, chunks are served and not kept', async () => {
  const blob = sample('a', 4);
  const store = await CacheStore.open(dir, { limit: 1 });
  try {
    const view = await store.acquire(blob.layout, new SampleSource(blob.stored));
    await read(view, blob, 0);
    await read(view, blob, 0);
    expect(store.stats).toMatchObject({ notKept: 2, storedBytes: 0, writeErrors: 0 });
  } finally {
    await store.close();
  }
});

const step = fc.record({
  blob: fc.integer({ min: 0, max: 2 }),
  index: fc.integer({ min: 0, max: 9 }),
  what: fc.constantFrom('read', 'read', 'read', 'local', 'evict', 'crash', 'scrub', 'reopen'),
});

it('any reads, evictions, scrubs and crashes at once give the right bytes', async () => {
  const blobs = ['a', 'b', 'c'].map((letter) => sample(letter, 10));
  let session = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(fc.array(step, { maxLength: 12 }), { maxLength: 6 }), async (waves) => {
      let place = join(dir, String(session++));
      const open = async () => {
        const store = await CacheStore.open(place, { limit: 14 * size });
        const views = await Promise.all(
          blobs.map((blob) => store.acquire(blob.layout, new SampleSource(blob.stored))),
        );
        const readers = views.map((view) => new TrustedReader(view.share()!));
        return { store, views, readers };
      };
      let now = await open();
      const close = async () => {
        for (const reader of now.readers) reader.close();
        await now.store.close();
      };
      for (const wave of waves) {
        const { store, views, readers } = now;
        await Promise.all(
          wave.map(async ({ blob, index, what }) => {
            if (what === 'read') await read(views[blob]!, blobs[blob]!, index);
            if (what === 'evict') await evictChunks(store, index * size);
            if (what === 'scrub')
              expect(await scrubBlob(store, blobs[blob]!.layout.id)).toMatchObject({ damaged: 0 });
            if (what !== 'local') return;
            const target = Buffer.alloc(size, 0xee);
            if (!readers[blob]!.readLocal(index * size, target)) return;
            expect(target.equals(blobs[blob]!.truth.subarray(index * size, (index + 1) * size))).toBe(true);
          }),
        );
        const crashed = wave.some(({ what }) => what === 'crash');
        if (!crashed && !wave.some(({ what }) => what === 'reopen')) continue;
        const copy = join(dir, String(session++));
        // What the disk has of a process that is killed now.
        if (crashed) cpSync(place, copy, { recursive: true });
        await close();
        if (crashed) {
          rmSync(place, { recursive: true });
          place = copy;
        }
        now = await open();
      }
      await close();
      rmSync(place, { recursive: true });
    }),
    { numRuns: 10 },
  );
}, 60_000);

it('chunks of a start go last, also in a later session, and those of pinned blobs after them', async () => {
  const [old, young] = [sample('a', 3), sample('b', 3)];
  const time = vi.spyOn(Date, 'now');
  const present = (view: BlobCache) => [0, 1, 2].filter((index) => view.has(index));
  let store = await CacheStore.open(dir);
  try {
    time.mockReturnValue(1_700_000_000_000);
    const first = await store.acquire(old.layout, new SampleSource(old.stored));
    await read(first, old, 0);
    await first.prefetch([0, 1], { class: 'startup' });
    await read(first, old, 2);
    time.mockReturnValue(1_700_000_100_000);
    const second = await store.acquire(young.layout, new SampleSource(young.stored));
    for (const index of [0, 1, 2]) await read(second, young, index);
    await store.close();
    store = await CacheStore.open(dir);
    const [left, right] = [
      await store.acquire(old.layout, noSource),
      await store.acquire(young.layout, noSource),
    ];
    await evictChunks(store, size);
    expect([present(left), present(right)]).toEqual([
      [0, 1],
      [0, 1, 2],
    ]);
    await setPin(dir, young.layout.id, true);
    await read(left, old, 0);
    await evictChunks(store, size);
    expect([present(left), present(right)]).toEqual([[0], [0, 1, 2]]);
    await setPin(dir, young.layout.id, false);
    await evictChunks(store, 3 * size);
    expect([present(left), present(right)]).toEqual([[0], []]);
    await evictChunks(store, size);
    expect(present(left)).toEqual([]);
  } finally {
    time.mockRestore();
    await store.close();
  }
});
