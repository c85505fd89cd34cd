import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ChunkPlaces } from '../../../src/cache/chunk-places.js';
import { fingerprintOf } from '../../../src/cache/layout.js';
import { readStoredMap } from '../../../src/cache/quota/catalog.js';
import { noStats } from '../../../src/cache/stats.js';
import { BlobStorage } from '../../../src/cache/storage/blob-storage.js';
import { decodeMapHeader } from '../../../src/cache/storage/chunk-map.js';
import { chunkDigest } from '../../../src/codec/digest.js';
import { type SampleBlob, sampleBlob } from '../sample-blob.js';

let dir: string;
let blob: SampleBlob;
let storage: BlobStorage;
const stats = noStats();

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-storage-'));
  blob = sampleBlob([5000, 6000, 100, 9000]);
  storage = await open();
});

afterEach(async () => {
  await storage.close();
  rmSync(dir, { recursive: true });
});

function open(): Promise<BlobStorage> {
  const { id, chunkCount, decodedSize } = blob.layout;
  const identity = { blobId: id, chunkCount, decodedSize, fingerprint: fingerprintOf(blob.layout) };
  return BlobStorage.open(dir, {
    stem: id,
    identity,
    places: ChunkPlaces.describe(blob.layout),
    stats,
    onError: (error) => {
      throw error;
    },
  });
}

function verified(index: number, bytes = bytesOf(index)) {
  return { chunk: blob.chunks[index]!, bytes, digest: chunkDigest('blake3', bytes) };
}

function bytesOf(index: number): Buffer {
  const { decodedOffset, size } = blob.chunks[index]!;
  return Buffer.copyBytesFrom(blob.truth, decodedOffset, size);
}

async function stored(index: number): Promise<Buffer> {
  const { decodedOffset, size } = blob.chunks[index]!;
  const bytes = Buffer.alloc(size);
  expect(await storage.read(decodedOffset, bytes)).toBe(true);
  return bytes;
}

it('holds a chunk for those who want exactly its bytes', async () => {
  const other = chunkDigest('blake3', Buffer.from('other'));
  expect(storage.holds(0, blob.digests[0]!)).toBe(false);
  await storage.store([verified(0)]);
  expect(storage.holds(0, blob.digests[0]!)).toBe(true);
  expect(storage.holds(0, other)).toBe(false);
  expect(storage.holds(0, Buffer.alloc(32))).toBe(false);
  expect(storage.holds(1, blob.digests[1]!)).toBe(false);
});

it('writes neighbours and strangers to their own places, zeros between', async () => {
  await storage.store([verified(0), verified(1), verified(3)]);
  const all = Buffer.alloc(blob.truth.length, 0xee);
  expect(await storage.read(0, all)).toBe(true);
  const expected = Buffer.from(blob.truth);
  const missing = blob.chunks[2]!;
  expected.fill(0, missing.decodedOffset, missing.decodedOffset + missing.size);
  expect(all.equals(expected)).toBe(true);
});

it('a chunk that is dropped is gone for everybody who trusted it', async () => {
  await storage.store([verified(0), verified(1)]);
  const trust = storage.openTrust();
  trust.give(0);
  trust.give(1);
  const before = stats.dropped;
  storage.drop(0);
  storage.drop(0);
  expect([trust.has(0), trust.has(1)]).toEqual([false, true]);
  expect(storage.holds(0, blob.digests[0]!)).toBe(false);
  expect(stats.dropped - before).toBe(1);
});

it('other bytes for a chunk wait until nobody trusts the first ones', async () => {
  const other = verified(0, Buffer.alloc(5000, 'x'));
  await storage.store([verified(0)]);
  const trust = storage.openTrust();
  trust.give(0);
  await storage.store([other]);
  expect((await stored(0)).equals(bytesOf(0))).toBe(true);
  expect(storage.holds(0, blob.digests[0]!)).toBe(true);
  storage.closeTrust(trust);
  await storage.store([other]);
  expect((await stored(0)).equals(other.bytes)).toBe(true);
  expect(storage.holds(0, blob.digests[0]!)).toBe(false);
  expect(storage.holds(0, other.digest)).toBe(true);
});

it('two writers of one chunk do not mix their bytes', async () => {
  const other = verified(3, Buffer.alloc(9000, 'x'));
  await Promise.all([storage.store([verified(3)]), storage.store([other])]);
  expect((await stored(3)).equals(bytesOf(3))).toBe(true);
  expect(storage.holds(3, other.digest)).toBe(false);
});

it('a chunk that is being verified again is not overwritten meanwhile', async () => {
  await storage.store([verified(3)]);
  // Without a close the map stays dirty: what the next one to open it sees is suspect.
  const killed = storage;
  await new Promise((resolve) => setTimeout(resolve, 1300));
  storage = await open();
  expect(storage.isSuspect(3)).toBe(true);
  const other = verified(3, Buffer.alloc(9000, 'x'));
  const recheck = storage.recheck(blob.chunks[3]!, blob.digests[3]!, (bytes) => bytes.equals(bytesOf(3)));
  await Promise.all([recheck, storage.store([other])]);
  expect(storage.isSuspect(3)).toBe(false);
  expect(storage.holds(3, blob.digests[3]!)).toBe(true);
  expect((await stored(3)).equals(bytesOf(3))).toBe(true);
  await killed.close();
});

it('a clean map is dirty on disk before any of its bits change', async () => {
  await storage.store([verified(0)]);
  await storage.close();
  storage = await open();
  const header = () => decodeMapHeader(readFileSync(join(dir, `${blob.layout.id}.map`)));
  expect(header()?.clean).toBeDefined();
  storage.drop(0);
  await expect.poll(() => header()?.clean, { timeout: 5000 }).toBeUndefined();
});

it('a record outlives the session, a dropped chunk does not', async () => {
  await storage.store([verified(0), verified(1), verified(3)]);
  storage.drop(1);
  await storage.close();
  storage = await open();
  const held = blob.digests.map((digest, index) => storage.holds(index, digest));
  expect(held).toEqual([true, false, false, true]);
});

it('does not take those who list the cache for a kernel that reads the file', async () => {
  for (let i = 0; i < 20; i++) {
    await storage.close();
    const listing = Array.from({ length: 8 }, () => readStoredMap(dir, blob.layout.id));
    storage = await open();
    expect(storage.isGuarded).toBe(false);
    await Promise.all(listing);
  }
});
