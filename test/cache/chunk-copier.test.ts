import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { BlobCache } from '../../src/cache/blob-cache.js';
import { Donors } from '../../src/cache/donors.js';
import { CacheStore } from '../../src/cache/store.js';
import { noSource, type SampleBlob, SampleSource, sampleBlob } from './sample-blob.js';

let dir: string;
let store: CacheStore;
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-copier-'));
  store = await CacheStore.open(dir);
});
afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true });
});

async function readAll(cache: BlobCache): Promise<Buffer> {
  const target = Buffer.alloc(cache.layout.decodedSize, 0xee);
  await cache.read(0, target);
  return target;
}

/** A blob of another image with the chunks of `blob` in other places: in reverse order, stored as they are. */
function reversed(blob: SampleBlob, id: string): SampleBlob {
  const order = [...blob.chunks].reverse();
  const parts = order.map(({ size }) => size);
  const other = sampleBlob(parts, { id, compressor: 'none' });
  const truth = Buffer.alloc(other.truth.length);
  const stored: Buffer[] = [];
  for (const [i, { decodedOffset, size }] of order.entries()) {
    const bytes = Buffer.copyBytesFrom(blob.truth, decodedOffset, size);
    bytes.copy(truth, other.chunks[i]!.decodedOffset);
    stored.push(bytes);
  }
  const digests = order.map(({ index }) => blob.digests[index]!);
  const chunks = other.chunks.map((chunk) => ({ ...chunk, crc: undefined }));
  const layout = {
    ...other.layout,
    chunk: (index: number) => ({ ...chunks[index]! }),
    chunkDigest: (index: number) => digests[index],
  };
  return { layout, truth, stored: Buffer.concat(stored), digests, chunks };
}

const first = sampleBlob([5000, [100, 9000], 70_000], { id: 'a'.repeat(64) });
const second = reversed(first, 'b'.repeat(64));

it('what another blob has is copied, not fetched, and then here', async () => {
  await readAll(await store.acquire(first.layout, new SampleSource(first.stored)));
  const view = await store.acquire(second.layout, noSource);
  expect((await readAll(view)).equals(second.truth)).toBe(true);
  expect(view.stats).toMatchObject({ copied: 4, requests: 0, misses: 4 });
  const target = Buffer.alloc(second.truth.length);
  expect(view.readLocal(0, target)).toBe(true);
  expect(target.equals(second.truth)).toBe(true);
});

it('blobs that nobody has mounted are donors, too, also of an earlier session', async () => {
  await readAll(await store.acquire(first.layout, new SampleSource(first.stored)));
  await store.close();
  store = await CacheStore.open(dir);
  await store.settled();
  const view = await store.acquire(second.layout, noSource);
  expect((await readAll(view)).equals(second.truth)).toBe(true);
  expect(view.stats).toMatchObject({ copied: 4, requests: 0 });
});

it('only what is missing is copied, the rest fetched; in the background, too', async () => {
  const donor = await store.acquire(first.layout, new SampleSource(first.stored));
  await donor.read(0, Buffer.alloc(1));
  const source = new SampleSource(second.stored);
  const view = await store.acquire(second.layout, source);
  expect(await view.prefetch([0, 1, 2, 3], { class: 'completion' })).toBe(true);
  expect(view.stats.copied).toBe(1);
  expect(source.requests).toEqual([{ offset: 0, length: 79_100 }]);
  expect((await readAll(view)).equals(second.truth)).toBe(true);
});

it('a donor whose bytes are others by now costs a fetch, never a wrong byte', async () => {
  await readAll(await store.acquire(first.layout, new SampleSource(first.stored)));
  writeFileSync(join(dir, `${first.layout.id}.data`), Buffer.alloc(first.truth.length));
  const view = await store.acquire(second.layout, new SampleSource(second.stored));
  expect((await readAll(view)).equals(second.truth)).toBe(true);
  expect(view.stats).toMatchObject({ copied: 0, storedBytes: 84_100 });
});

it('a donor that has gone costs a fetch', async () => {
  const donor = await store.acquire(first.layout, new SampleSource(first.stored));
  await readAll(donor);
  await store.release(donor);
  expect(await store.remove(first.layout.id)).toBe(true);
  const view = await store.acquire(second.layout, new SampleSource(second.stored));
  expect((await readAll(view)).equals(second.truth)).toBe(true);
  expect(view.stats.copied).toBe(0);
});

it('remembers so many chunks, the newest, and offsets up to a terabyte', () => {
  const donors = new Donors();
  const digest = (i: number) => {
    const bytes = Buffer.alloc(32);
    bytes.writeUInt32LE(i + 1);
    return bytes;
  };
  for (let i = 0; i < 100_001; i++) donors.add(i % 2 === 0 ? 'even' : 'odd', i * 4096, digest(i));
  expect(donors.find(digest(0), '')).toBeUndefined();
  expect(donors.find(digest(1), '')).toEqual({ stem: 'odd', offset: 4096 });
  expect(donors.find(digest(100_000), '')).toEqual({ stem: 'even', offset: 409_600_000 });
  expect(donors.find(digest(100_000), 'even')).toBeUndefined();
  donors.forget(digest(1));
  expect(donors.find(digest(1), '')).toBeUndefined();
  donors.add('far', 2 ** 40 - 1, digest(7));
  expect(donors.find(digest(7), '')).toEqual({ stem: 'far', offset: 2 ** 40 - 1 });
  donors.add('farther', 2 ** 40, digest(200_000));
  expect(donors.find(digest(200_000), '')).toBeUndefined();
});
