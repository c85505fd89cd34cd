import { closeSync, mkdtempSync, openSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ChunkPlaces } from '../../src/cache/chunk-places.js';
import { fingerprintOf } from '../../src/cache/layout.js';
import { noStats } from '../../src/cache/stats.js';
import { BlobStorage } from '../../src/cache/storage/blob-storage.js';
import { TrustedReader } from '../../src/cache/storage/shared-trust.js';
import { type SampleBlob, sampleBlob } from './sample-blob.js';

const size = 64 << 10;
let dir: string;
let blob: SampleBlob;
let storage: BlobStorage;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-eviction-'));
  blob = sampleBlob([size, size, size]);
  storage = await open();
  await storage.store(
    blob.chunks.map((chunk) => ({ chunk, bytes: bytesOf(chunk.index), digest: blob.digests[chunk.index]! })),
  );
});

afterEach(async () => {
  await storage.close();
  rmSync(dir, { recursive: true });
});

function open(): Promise<BlobStorage> {
  const { id, chunkCount, decodedSize } = blob.layout;
  const identity = { blobId: id, chunkCount, decodedSize, fingerprint: fingerprintOf(blob.layout) };
  const places = ChunkPlaces.describe(blob.layout);
  const onError = (error: unknown) => {
    throw error;
  };
  return BlobStorage.open(dir, { stem: id, identity, places, stats: noStats(), onError });
}

function bytesOf(index: number): Buffer {
  const { decodedOffset, size } = blob.chunks[index]!;
  return Buffer.copyBytesFrom(blob.truth, decodedOffset, size);
}

const place = (index: number) => ({ start: index * size, end: (index + 1) * size });
const dataFile = () => join(dir, `${blob.layout.id}.data`);
const diskBytes = () => statSync(dataFile()).blocks * 512;

it('an evicted chunk gives its disk space back, its neighbours stay', async () => {
  const before = diskBytes();
  expect(await storage.evict(1, place(1))).toBe(true);
  expect(diskBytes()).toBe(before - size);
  expect([0, 1, 2].map((index) => storage.holds(index, blob.digests[index]!))).toEqual([true, false, true]);
  const bytes = Buffer.alloc(size);
  for (const index of [0, 2]) {
    expect(await storage.read(index * size, bytes)).toBe(true);
    expect(bytes.equals(bytesOf(index))).toBe(true);
  }
  expect(await storage.evict(1, place(1))).toBe(false);
});

it('it is gone in the next session too, and can be stored again', async () => {
  await storage.evict(1, place(1));
  await storage.close();
  storage = await open();
  expect([0, 1, 2].map((index) => storage.holds(index, blob.digests[index]!))).toEqual([true, false, true]);
  await storage.store([{ chunk: blob.chunks[1]!, bytes: bytesOf(1), digest: blob.digests[1]! }]);
  const bytes = Buffer.alloc(size);
  expect(await storage.read(size, bytes)).toBe(true);
  expect(bytes.equals(bytesOf(1))).toBe(true);
});

it('readers of other threads do not get what was evicted', async () => {
  const trust = storage.openTrust();
  for (const index of [0, 1, 2]) trust.give(index);
  const reader = new TrustedReader(storage.share(trust));
  try {
    const bytes = Buffer.alloc(size);
    expect(reader.readLocal(size, bytes)).toBe(true);
    const { withdrawals } = trust;
    await storage.evict(1, place(1));
    expect(trust.withdrawals).toBeGreaterThan(withdrawals);
    expect(reader.readLocal(size, bytes)).toBe(false);
    expect(reader.readLocal(0, bytes)).toBe(true);
    expect(bytes.equals(bytesOf(0))).toBe(true);
  } finally {
    reader.close();
  }
});

it('nothing is evicted from a file that others read, whoever opened it', async () => {
  storage.guard();
  expect(await storage.evict(0, place(0))).toBe(false);
  await storage.close();
  const fd = openSync(dataFile(), 'r');
  try {
    storage = await open();
    expect(storage.isGuarded).toBe(true);
    expect(await storage.evict(0, place(0))).toBe(false);
    await storage.close();
  } finally {
    closeSync(fd);
  }
  storage = await open();
  expect(storage.isGuarded).toBe(false);
  expect(await storage.evict(0, place(0))).toBe(true);
});

it('a chunk that is being written or verified is not evicted', async () => {
  await storage.evict(0, place(0));
  const writing = storage.store([{ chunk: blob.chunks[0]!, bytes: bytesOf(0), digest: blob.digests[0]! }]);
  const rechecked = storage.recheck(blob.chunks[1]!, blob.digests[1]!, () => true);
  expect(await Promise.all([storage.evict(0, place(0)), storage.evict(1, place(1))])).toEqual([false, false]);
  await Promise.all([writing, rechecked]);
  expect(storage.holds(0, blob.digests[0]!)).toBe(true);
});

it('the time of the last use of a chunk is kept over sessions', async () => {
  const begin = Math.floor(Date.now() / 1000);
  const used = storage.uses.last(2);
  expect(used).toBeGreaterThanOrEqual(begin - 60);
  await storage.close();
  storage = await open();
  expect(storage.uses.last(2)).toBe(used);
  expect(storage.uses.latest()).toBeGreaterThanOrEqual(used);
});
