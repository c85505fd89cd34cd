import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { BlobCache } from '../../src/cache/blob-cache.js';
import { decodeMapHeader, mapPlaces } from '../../src/cache/storage/chunk-map.js';
import { CacheStore } from '../../src/cache/store.js';
import { RafterError } from '../../src/errors.js';
import { noSource, SampleSource, sampleBlob } from './sample-blob.js';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-store-'));
});

afterEach(() => rmSync(dir, { recursive: true }));

async function readAll(cache: BlobCache): Promise<Buffer> {
  const target = Buffer.alloc(cache.layout.decodedSize, 0xee);
  await cache.read(0, target);
  return target;
}

it('creates its directory for the owner only, with a sparse data file of the decoded size', async () => {
  const blob = sampleBlob([5000, 100]);
  const store = await CacheStore.open(join(dir, 'a', 'b'));
  try {
    await store.acquire(blob.layout, noSource);
    const data = statSync(join(store.dir, `${blob.layout.id}.data`));
    expect(data.size).toBe(blob.layout.decodedSize);
    expect(data.blocks).toBe(0);
    expect(data.mode & 0o777).toBe(0o600);
    expect(statSync(store.dir).mode & 0o777).toBe(0o700);
  } finally {
    await store.close();
  }
});

it('refuses a directory that is in use, naming the process, and takes it when it is free', async () => {
  const store = await CacheStore.open(dir);
  const error = await CacheStore.open(dir).catch((e: unknown) => e);
  expect(error).toBeInstanceOf(RafterError);
  expect(error).toMatchObject({ code: 'BUSY' });
  expect((error as Error).message).toContain(`${dir} is in use by process ${process.pid}`);
  await store.close();
  await (await CacheStore.open(dir)).close();
});

it('takes over the lock of a process that is gone', async () => {
  writeFileSync(join(dir, 'lock'), '1\n');
  const store = await CacheStore.open(dir);
  expect(readFileSync(join(dir, 'lock'), 'latin1')).toBe(`${process.pid}\n`);
  await store.close();
});

it('says what is wrong with a directory that cannot be one', async () => {
  writeFileSync(join(dir, 'file'), '');
  await expect(CacheStore.open(join(dir, 'file'))).rejects.toMatchObject({
    code: 'FAILED',
    message: expect.stringContaining(join(dir, 'file')),
  });
});

it('serves everything after a clean close without asking the source, and believes its map', async () => {
  const blob = sampleBlob([5000, [10, 20, 5000], 70_000]);
  const first = await CacheStore.open(dir);
  await readAll(await first.acquire(blob.layout, new SampleSource(blob.stored)));
  await first.close();
  const map = join(dir, `${blob.layout.id}.map`);
  const written = readFileSync(map);
  expect(decodeMapHeader(readFileSync(map))?.clean).toBeDefined();

  const second = await CacheStore.open(dir);
  const cache = await second.acquire(blob.layout, noSource);
  const target = Buffer.alloc(blob.truth.length);
  expect(cache.readLocal(0, target)).toBe(true);
  expect(target.equals(blob.truth)).toBe(true);
  await second.close();
  const { uses } = mapPlaces(blob.chunks.length);
  const believed = readFileSync(map).subarray(0, uses);
  expect(believed.equals(written.subarray(0, uses)), 'a session that only reads changes times only').toBe(
    true,
  );
});

it('keeps a half filled blob over several sessions', async () => {
  const blob = sampleBlob([5000, 6000, 7000]);
  for (const [session, chunk] of blob.chunks.entries()) {
    const store = await CacheStore.open(dir);
    const source = new SampleSource(blob.stored);
    const cache = await store.acquire(blob.layout, source);
    for (const { decodedOffset, size } of blob.chunks.slice(0, session)) {
      expect(cache.readLocal(decodedOffset, Buffer.alloc(size))).toBe(true);
    }
    expect(cache.readLocal(chunk.decodedOffset, Buffer.alloc(1))).toBe(false);
    await cache.read(chunk.decodedOffset, Buffer.alloc(1));
    expect(source.requests).toHaveLength(1);
    await store.close();
  }
});

it('keeps the files of a blob open until its last view is released, then marks them clean', async () => {
  const blob = sampleBlob([5000]);
  const store = await CacheStore.open(dir);
  const isClean = () =>
    decodeMapHeader(readFileSync(join(dir, `${blob.layout.id}.map`)))?.clean !== undefined;
  const first = await store.acquire(blob.layout, new SampleSource(blob.stored));
  const second = await store.acquire(blob.layout, noSource);
  await readAll(first);
  await store.release(first);
  expect(isClean()).toBe(false);
  expect((await readAll(second)).equals(blob.truth)).toBe(true);
  await store.release(second);
  expect(isClean()).toBe(true);
  await store.release(second);
  const third = await store.acquire(blob.layout, noSource);
  expect((await readAll(third)).equals(blob.truth)).toBe(true);
  await store.close();
});

it('survives acquiring and releasing one blob many times at once', async () => {
  const blob = sampleBlob([5000, 6000]);
  const store = await CacheStore.open(dir);
  const source = new SampleSource(blob.stored);
  await Promise.all(
    Array.from({ length: 30 }, async () => {
      const cache = await store.acquire(blob.layout, source);
      expect((await readAll(cache)).equals(blob.truth)).toBe(true);
      await store.release(cache);
    }),
  );
  expect(source.requests).toHaveLength(1);
  await store.close();
});

it('ends running reads when it is closed, and takes no more blobs', async () => {
  const blob = sampleBlob([5000]);
  const source = new SampleSource(blob.stored);
  source.delayMs = 60_000;
  const store = await CacheStore.open(dir);
  const read = readAll(await store.acquire(blob.layout, source)).catch((e: unknown) => e);
  await expect.poll(() => source.requests.length).toBe(1);
  await store.close();
  expect(await read).toMatchObject({ code: 'INTERRUPTED' });
  expect(source.aborted).toBe(1);
  await expect(store.acquire(blob.layout, source)).rejects.toThrow('is closed');
});

it('waits for chunks that are still being written when their readers are gone', async () => {
  const warnings: string[] = [];
  const store = await CacheStore.open(dir, { onWarning: (message) => warnings.push(message) });
  for (let round = 0; round < 25; round++) {
    const blob = sampleBlob([400_000, 400_000, 400_000], { id: `round${round}`, compressor: 'none' });
    const cache = await store.acquire(blob.layout, new SampleSource(blob.stored));
    const read = readAll(cache).catch((e: unknown) => e);
    await sleep(round / 4);
    await store.release(cache);
    await read;
    expect(cache.stats.writeErrors).toBe(0);
  }
  await store.close();
  expect(warnings).toEqual([]);
});

it('may be told twice at once to release a view, also while it reads', async () => {
  const blob = sampleBlob([5000]);
  const source = new SampleSource(blob.stored);
  source.delayMs = 60_000;
  const store = await CacheStore.open(dir);
  const cache = await store.acquire(blob.layout, source);
  const read = readAll(cache).catch((e: unknown) => e);
  await Promise.all([store.release(cache), store.release(cache), store.close()]);
  expect(await read).toMatchObject({ code: 'INTERRUPTED' });
  await (await CacheStore.open(dir)).close();
});

it('refuses ids that are no file names and chunks that overlap or leave the blob', async () => {
  const blob = sampleBlob([5000, 6000]);
  const store = await CacheStore.open(dir);
  const chunk = blob.layout.chunk;
  const wrong = [
    { id: '../../etc/x' },
    { id: '' },
    { decodedSize: blob.layout.decodedSize - 4096 },
    { chunk: (i: number) => ({ ...chunk(i), decodedOffset: 0 }) },
    { chunk: (i: number) => ({ ...chunk(i), size: 0 }) },
  ];
  for (const change of wrong) {
    await expect(store.acquire({ ...blob.layout, ...change }, noSource)).rejects.toMatchObject({
      code: 'MALFORMED',
    });
  }
  expect(existsSync(join(dir, `${blob.layout.id}.data`))).toBe(false);
  await store.close();
});

it('handles a blob without chunks', async () => {
  const blob = sampleBlob([]);
  const store = await CacheStore.open(dir);
  const cache = await store.acquire(blob.layout, noSource);
  await cache.read(0, Buffer.alloc(0));
  expect(cache.readLocal(0, Buffer.alloc(0))).toBe(true);
  await store.close();
});

it('works without files when they cannot be opened, and says so once', async () => {
  const blob = sampleBlob([5000, 6000]);
  const warnings: string[] = [];
  const store = await CacheStore.open(dir, { onWarning: (message) => warnings.push(message) });
  mkdirSync(join(dir, `${blob.layout.id}.data`));
  const cache = await store.acquire(blob.layout, new SampleSource(blob.stored));
  for (let round = 0; round < 2; round++) {
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    expect(cache.readLocal(0, Buffer.alloc(1))).toBe(false);
  }
  expect(cache.stats).toMatchObject({ requests: 2, storedBytes: 0, writeErrors: 1 });
  expect(warnings).toHaveLength(1);
  expect(warnings[0]).toContain(blob.layout.id);
  await store.close();
});
