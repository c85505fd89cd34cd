import { mkdirSync, mkdtempSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { BlobCache } from '../../src/cache/blob-cache.js';
import { CacheStore } from '../../src/cache/store.js';
import { mount, unmount } from '../../src/os/mount.js';
import { noSource, SampleSource, sampleBlob } from './sample-blob.js';

let dir: string;
let disk: string;

beforeEach((ctx) => {
  if (process.getuid?.() !== 0) ctx.skip('mounting a tmpfs needs root');
  dir = mkdtempSync(join(tmpdir(), 'rafter-disk-full-'));
  disk = join(dir, 'disk');
  mkdirSync(disk);
  mount({ source: 'rafter-test', target: disk, type: 'tmpfs', data: 'size=1m' });
});

afterEach(() => {
  if (!dir) return;
  unmount(disk, { detach: true });
  rmSync(dir, { recursive: true });
});

async function readAll(cache: BlobCache): Promise<Buffer> {
  const target = Buffer.alloc(cache.layout.decodedSize, 0xee);
  await cache.read(0, target);
  return target;
}

const quarter = 256 << 10;

it('a full disk costs fetches, never a read, and is told once', async () => {
  const blob = sampleBlob(Array.from({ length: 8 }, () => quarter));
  const warnings: string[] = [];
  const source = new SampleSource(blob.stored);
  const store = await CacheStore.open(disk, { onWarning: (message) => warnings.push(message) });
  try {
    const cache = await store.acquire(blob.layout, source);
    for (let round = 0; round < 3; round++) expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    expect(cache.stats.writeErrors).toBeGreaterThan(0);
    expect(cache.stats.storedBytes).toBeGreaterThan(0);
    expect(cache.stats.storedBytes).toBeLessThan(1 << 20);
    expect(warnings).toHaveLength(1);
    expect(warnings[0]).toMatch(/cannot be written.*ENOSPC/);
  } finally {
    await store.close();
  }
  // What was marked is whole, in this session's files too.
  const again = await CacheStore.open(disk);
  try {
    const cache = await again.acquire(blob.layout, source);
    const local = blob.chunks.filter(({ decodedOffset, size }) => {
      const target = Buffer.alloc(size);
      if (!cache.readLocal(decodedOffset, target)) return false;
      expect(target.equals(blob.truth.subarray(decodedOffset, decodedOffset + size))).toBe(true);
      return true;
    });
    expect(local.length).toBeGreaterThan(0);
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
  } finally {
    await again.close();
  }
});

it('when there is room again, chunks are kept again', async () => {
  const blob = sampleBlob([quarter]);
  const store = await CacheStore.open(disk);
  try {
    const cache = await store.acquire(blob.layout, new SampleSource(blob.stored));
    const { bavail, bsize } = statfsSync(disk);
    writeFileSync(join(disk, 'filler'), Buffer.alloc(bavail * bsize));
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    expect(cache.readLocal(0, Buffer.alloc(1))).toBe(false);
    expect(store.problem).toMatch(/ENOSPC/);
    rmSync(join(disk, 'filler'));
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    expect(cache.readLocal(0, Buffer.alloc(1))).toBe(true);
    expect(store.problem).toBeUndefined();
  } finally {
    await store.close();
  }
});

it('a disk that is full from the start still gives every byte', async () => {
  const blob = sampleBlob([quarter, [1, 2, 3]]);
  const { bavail, bsize } = statfsSync(disk);
  writeFileSync(join(disk, 'filler'), Buffer.alloc(bavail * bsize));
  const store = await CacheStore.open(disk);
  try {
    const cache = await store.acquire(blob.layout, new SampleSource(blob.stored));
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    expect(store.stats.writeErrors).toBeGreaterThan(0);
  } finally {
    await store.close();
  }
  rmSync(join(disk, 'filler'));
  const later = await CacheStore.open(disk);
  try {
    const cache = await later.acquire(blob.layout, new SampleSource(blob.stored));
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    expect((await readAll(await later.acquire(blob.layout, noSource))).equals(blob.truth)).toBe(true);
  } finally {
    await later.close();
  }
});

it('a disk that is full in a later session serves what it has and fetches only the rest', async () => {
  const blob = sampleBlob([quarter, 5000]);
  const first = await CacheStore.open(disk);
  try {
    const cache = await first.acquire(blob.layout, new SampleSource(blob.stored));
    await cache.read(0, Buffer.alloc(1));
  } finally {
    await first.close();
  }
  const store = await CacheStore.open(disk);
  try {
    const source = new SampleSource(blob.stored);
    const cache = await store.acquire(blob.layout, source);
    writeFileSync(join(disk, 'filler'), Buffer.alloc(statfsSync(disk).bavail * statfsSync(disk).bsize));
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    expect(source.requests).toEqual([
      { offset: blob.chunks[1]!.storedOffset, length: blob.chunks[1]!.storedSize },
    ]);
  } finally {
    await store.close();
  }
});
