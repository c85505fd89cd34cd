import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate as nextTurn, setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { BlobCache } from '../../src/cache/blob-cache.js';
import { CLASS_LIMITS } from '../../src/cache/fetch/fetch-class.js';
import { CacheStore } from '../../src/cache/store.js';
import { RafterError } from '../../src/errors.js';
import { giveMemoryBack, takeMemory } from '../../src/os/spare-memory.js';
import { damage, noSource, type SampleBlob, SampleSource, sampleBlob } from './sample-blob.js';

const MAX_REQUEST_SIZE = CLASS_LIMITS.demand.requestBytes;
let dir: string;
let store: CacheStore;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-cache-'));
  store = await CacheStore.open(dir);
});

afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true });
});

async function open(blob: SampleBlob): Promise<{ cache: BlobCache; source: SampleSource }> {
  const source = new SampleSource(blob.stored);
  return { cache: await store.acquire(blob.layout, source), source };
}

async function readAll(cache: BlobCache, signal?: AbortSignal): Promise<Buffer> {
  const target = Buffer.alloc(cache.layout.decodedSize, 0xee);
  await cache.read(0, target, signal);
  return target;
}

async function readAt(cache: BlobCache, offset: number, length: number): Promise<Buffer> {
  const target = Buffer.alloc(length, 0xee);
  await cache.read(offset, target);
  return target;
}

/** The message and code of the error, so that a failing test shows both. */
async function failure(promise: Promise<unknown>): Promise<RafterError> {
  const error = await promise.then(
    () => undefined,
    (e: unknown) => e,
  );
  expect(error).toBeInstanceOf(RafterError);
  return error as RafterError;
}

describe('what a read returns', () => {
  it('decodes chunks of every compressor and digest', async () => {
    for (const compressor of ['none', 'lz4_block', 'gzip', 'zstd'] as const) {
      for (const digester of ['blake3', 'sha256'] as const) {
        const id = `${compressor}${digester}`.replace('_', '');
        const blob = sampleBlob([5000, 70_000, 1], { id, compressor, digester });
        const { cache } = await open(blob);
        expect((await readAll(cache)).equals(blob.truth), id).toBe(true);
        await store.release(cache);
      }
    }
  });

  it('gives each of many readers its own bytes, although memory is used again for others', async () => {
    const parts = Array.from({ length: 40 }, (_, i) => (i % 4 === 3 ? [40_000, 9, 30_000] : 60_000 + i));
    const blob = sampleBlob(parts, { gapBefore: (i) => i % 3 });
    const { cache, source } = await open(blob);
    source.meddle = (bytes) => {
      const lent = takeMemory(bytes.length);
      bytes.copy(lent);
      return lent;
    };
    let isOver = false;
    const spoil = async () => {
      while (!isOver) {
        const spare = Array.from({ length: 10 }, () => takeMemory(70_000).fill(0xee));
        for (const bytes of spare) giveMemoryBack(bytes);
        await nextTurn();
      }
    };
    const spoiling = spoil();
    const offsets = Array.from({ length: 60 }, (_, i) => (i * 41_000) % (blob.truth.length - 150_000));
    const reads = offsets.map((offset) => readAt(cache, offset, 150_000));
    const right = (await Promise.all(reads)).map((bytes, i) =>
      bytes.equals(blob.truth.subarray(offsets[i]!, offsets[i]! + 150_000)),
    );
    isOver = true;
    await spoiling;
    expect(right).not.toContain(false);
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
  });

  it('fills gaps between chunks and behind the end of chunks with zeros, fetched or local', async () => {
    const blob = sampleBlob([100, 5000, 1], { gapBefore: (i) => i });
    const { cache } = await open(blob);
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    const target = Buffer.alloc(blob.truth.length, 0xee);
    expect(cache.readLocal(0, target)).toBe(true);
    expect(target.equals(blob.truth)).toBe(true);
    expect(await readAt(cache, 200, 50)).toEqual(Buffer.alloc(50));
  });

  it('reads a range that has no chunk without asking anybody', async () => {
    const blob = sampleBlob([100, 100]);
    const cache = await store.acquire(blob.layout, noSource);
    expect(await readAt(cache, 100, 3996)).toEqual(Buffer.alloc(3996));
    expect(cache.readLocal(200, Buffer.alloc(10, 0xee))).toBe(true);
    expect(await readAt(cache, 8192, 0)).toEqual(Buffer.alloc(0));
  });

  it('refuses ranges outside of the blob', async () => {
    const { cache } = await open(sampleBlob([100]));
    const size = cache.layout.decodedSize;
    for (const [offset, length] of [
      [-1, 1],
      [0, size + 1],
      [size, 1],
      [0.5, 1],
      [Number.NaN, 1],
    ] as const) {
      await expect(cache.read(offset, Buffer.alloc(length))).rejects.toThrow(RangeError);
      expect(() => cache.readLocal(offset, Buffer.alloc(length))).toThrow(RangeError);
    }
  });

  it('counts hits and misses, requests, fetched and stored bytes', async () => {
    const blob = sampleBlob([5000, 6000]);
    const { cache } = await open(blob);
    await readAt(cache, 10, 10);
    await readAt(cache, 20, 10);
    expect(cache.stats).toMatchObject({
      hits: 1,
      misses: 1,
      requests: 1,
      fetchedBytes: blob.chunks[0]!.storedSize,
      storedBytes: 5000,
    });
    expect(store.stats).toEqual(cache.stats);
    await store.release(cache);
    expect(store.stats).toEqual(cache.stats);
  });
});

describe('readLocal', () => {
  it('is false until every chunk of the range is here', async () => {
    const blob = sampleBlob([5000, 6000]);
    const { cache, source } = await open(blob);
    const target = Buffer.alloc(blob.truth.length);
    expect(cache.readLocal(0, target.subarray(0, 10))).toBe(false);
    await readAt(cache, 0, 10);
    expect(cache.readLocal(0, target)).toBe(false);
    const first = target.subarray(0, 5000);
    expect(cache.readLocal(0, first)).toBe(true);
    expect(first.equals(blob.truth.subarray(0, 5000))).toBe(true);
    await readAll(cache);
    expect(cache.readLocal(0, target)).toBe(true);
    expect(target.equals(blob.truth)).toBe(true);
    expect(source.requests).toHaveLength(2);
  });
});

describe('requests', () => {
  it('fetches a chunk once for many readers at the same time', async () => {
    const blob = sampleBlob([50_000]);
    const { cache, source } = await open(blob);
    source.delayMs = 20;
    const reads = Array.from({ length: 50 }, (_, i) => readAt(cache, i * 500, 500));
    for (const [i, bytes] of (await Promise.all(reads)).entries()) {
      expect(bytes.equals(blob.truth.subarray(i * 500, i * 500 + 500))).toBe(true);
    }
    expect(source.requests).toHaveLength(1);
  });

  it('fetches a batch once for readers of its different members, and stores all of them', async () => {
    const blob = sampleBlob([9000, [10, 5000, 300, 4096], 9000]);
    const { cache, source } = await open(blob);
    source.delayMs = 20;
    await Promise.all(blob.chunks.slice(1, 5).map((c) => readAt(cache, c.decodedOffset, c.size)));
    expect(source.requests).toEqual([
      { offset: blob.chunks[1]!.storedOffset, length: blob.chunks[1]!.batch!.storedSize },
    ]);
    for (const { decodedOffset, size } of blob.chunks.slice(1, 5)) {
      const target = Buffer.alloc(size);
      expect(cache.readLocal(decodedOffset, target)).toBe(true);
      expect(target.equals(blob.truth.subarray(decodedOffset, decodedOffset + size))).toBe(true);
    }
  });

  it('reads batches whose compression did not help, which are stored raw', async () => {
    const blob = sampleBlob([[10, 20, 30]], { compressor: 'none' });
    const { cache } = await open(blob);
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
  });

  it('makes one request of adjacent missing chunks, and leaves out those that are here', async () => {
    const blob = sampleBlob([5000, 5000, [100, 200], 5000, 5000, 5000]);
    const { cache, source } = await open(blob);
    await readAt(cache, blob.chunks[4]!.decodedOffset, 10);
    source.requests.length = 0;
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    const fourth = blob.chunks[4]!;
    const after = fourth.storedOffset + fourth.storedSize;
    expect(source.requests).toEqual([
      { offset: 0, length: fourth.storedOffset },
      { offset: after, length: blob.stored.length - after },
    ]);
  });

  it('keeps merged requests at the limit', async () => {
    const half = MAX_REQUEST_SIZE / 2;
    const blob = sampleBlob([half, half, 1], { compressor: 'none' });
    const { cache, source } = await open(blob);
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    expect(source.requests.map(({ length }) => length)).toEqual([MAX_REQUEST_SIZE, 1]);
  });

  it('fetches a chunk larger than the limit in one request', async () => {
    const blob = sampleBlob([MAX_REQUEST_SIZE + 1, 10], { compressor: 'none' });
    const { cache, source } = await open(blob);
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    expect(source.requests.map(({ length }) => length)).toEqual([MAX_REQUEST_SIZE + 1, 10]);
  });

  it('tries again at the next read after the source failed', async () => {
    const blob = sampleBlob([5000]);
    const { cache, source } = await open(blob);
    source.meddle = (bytes, request) => {
      if (request === 0) throw new RafterError('UNAVAILABLE', 'registry is gone');
      return bytes;
    };
    expect(await failure(readAll(cache))).toMatchObject({ code: 'UNAVAILABLE', message: 'registry is gone' });
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    expect(cache.stats.refetches).toBe(0);
  });
});

describe('damaged bytes', () => {
  for (const withoutCrc of [false, true]) {
    it(`are fetched again once and then served (${withoutCrc ? 'V1, without' : 'with'} CRC)`, async () => {
      const blob = sampleBlob([5000, 5000], { withoutCrc, compressor: 'none' });
      const { cache, source } = await open(blob);
      source.meddle = (bytes, request) => (request === 0 ? damage(bytes) : bytes);
      expect((await readAll(cache)).equals(blob.truth)).toBe(true);
      expect(source.requests.slice(1)).toEqual([{ offset: 0, length: 5000 }]);
      expect(cache.stats).toMatchObject({ decodeErrors: 1, refetches: 1, storedBytes: 10_000 });
    });
  }

  it('that do not decode are fetched again too', async () => {
    const blob = sampleBlob([50_000]);
    const { cache, source } = await open(blob);
    source.meddle = (bytes, request) => (request === 0 ? Buffer.alloc(bytes.length) : bytes);
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    expect(cache.stats).toMatchObject({ decodeErrors: 1, refetches: 1 });
  });

  for (const [name, change] of [
    ['short', (bytes: Buffer) => bytes.subarray(1)],
    ['long', (bytes: Buffer) => Buffer.concat([bytes, bytes])],
    ['empty', () => Buffer.alloc(0)],
  ] as const) {
    it(`answers that are ${name} are fetched again, chunk by chunk`, async () => {
      const blob = sampleBlob([5000, 5000]);
      const { cache, source } = await open(blob);
      source.meddle = (bytes, request) => (request === 0 ? change(bytes) : bytes);
      expect((await readAll(cache)).equals(blob.truth)).toBe(true);
      expect(source.requests).toHaveLength(3);
    });
  }

  it('that stay damaged are an error that names blob, chunk and range, and nothing is marked', async () => {
    const blob = sampleBlob([5000, 6000], { compressor: 'none' });
    const { cache, source } = await open(blob);
    source.meddle = damage;
    const error = await failure(readAt(cache, blob.chunks[1]!.decodedOffset, 1));
    expect(error.code).toBe('DIGEST_MISMATCH');
    expect(error.message).toContain(blob.layout.id);
    expect(error.message).toContain('chunk 1 (stored bytes 5000 to 11000)');
    expect(source.requests).toHaveLength(2);
    expect(cache.stats).toMatchObject({ storedBytes: 0, decodeErrors: 2, refetches: 1 });
    source.meddle = (bytes) => bytes;
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
  });

  it('with the right digest but another CRC are refused', async () => {
    const blob = sampleBlob([5000]);
    const layout = { ...blob.layout, chunk: (i: number) => ({ ...blob.layout.chunk(i), crc: 1 }) };
    const { cache } = await open({ ...blob, layout });
    expect((await failure(readAll(cache))).message).toContain('CRC-32C');
  });

  it('of one member leave the other members of a batch readable', async () => {
    const blob = sampleBlob([[100, 200, 300]], { compressor: 'none' });
    const { cache, source } = await open(blob);
    source.meddle = (bytes) => {
      bytes[150]! ^= 1;
      return bytes;
    };
    const [first, second, third] = blob.chunks;
    expect((await failure(readAt(cache, second!.decodedOffset, 200))).message).toContain('chunk 1');
    expect(await readAt(cache, first!.decodedOffset, 100)).toEqual(blob.truth.subarray(0, 100));
    expect(cache.readLocal(third!.decodedOffset, Buffer.alloc(300))).toBe(true);
    expect(cache.readLocal(second!.decodedOffset, Buffer.alloc(1))).toBe(false);
  });

  it('refuses a chunk whose digest the image does not have, and does not store it along with a batch', async () => {
    const blob = sampleBlob([5000, [100, 200]], { withoutDigest: (i) => i !== 1 });
    const { cache, source } = await open(blob);
    const error = await failure(readAt(cache, 0, 1));
    expect(error).toMatchObject({ code: 'MALFORMED' });
    expect(error.message).toContain('no digest of chunk 0');
    expect(source.requests).toHaveLength(0);
    await readAt(cache, blob.chunks[1]!.decodedOffset, 100);
    expect(cache.stats.storedBytes).toBe(100);
  });
});

describe('cancellation', () => {
  it('of one reader leaves the fetch to the others', async () => {
    const blob = sampleBlob([5000]);
    const { cache, source } = await open(blob);
    source.delayMs = 50;
    const abort = new AbortController();
    const cancelled = failure(readAll(cache, abort.signal));
    const other = readAll(cache);
    abort.abort();
    expect((await cancelled).code).toBe('INTERRUPTED');
    expect((await other).equals(blob.truth)).toBe(true);
    expect(source).toMatchObject({ aborted: 0 });
    expect(source.requests).toHaveLength(1);
  });

  it('of the last reader ends the fetch at once, and a later read starts its own', async () => {
    const blob = sampleBlob([5000]);
    const { cache, source } = await open(blob);
    source.delayMs = 60_000;
    const aborts = [new AbortController(), new AbortController()];
    const reads = aborts.map(({ signal }) => failure(readAll(cache, signal)));
    await sleep(5);
    aborts[0]!.abort();
    await sleep(5);
    expect(source.aborted).toBe(0);
    aborts[1]!.abort();
    source.delayMs = 0;
    const later = readAll(cache);
    for (const read of reads) expect((await read).code).toBe('INTERRUPTED');
    expect((await later).equals(blob.truth)).toBe(true);
    expect(source.aborted).toBe(1);
    expect(source.requests).toHaveLength(2);
  });

  it('before the read starts nothing', async () => {
    const { cache, source } = await open(sampleBlob([5000]));
    expect((await failure(readAll(cache, AbortSignal.abort()))).code).toBe('INTERRUPTED');
    expect(source.requests).toHaveLength(0);
  });

  it('in the same turn as the read ends the fetch', async () => {
    const { cache, source } = await open(sampleBlob([5000]));
    source.delayMs = 60_000;
    const abort = new AbortController();
    const read = failure(readAll(cache, abort.signal));
    abort.abort();
    expect((await read).code).toBe('INTERRUPTED');
    expect(source.requests.length).toBe(source.aborted);
  });

  it('of a read that failed in one request ends its other requests', async () => {
    const blob = sampleBlob([5000, 5000, 5000]);
    const { cache, source } = await open(blob);
    await readAt(cache, blob.chunks[1]!.decodedOffset, 1);
    const slow = { ...source, read: source.read.bind(source) };
    slow.read = (offset, length, signal) => {
      source.delayMs = offset === 0 ? 60_000 : 1;
      return source.read(offset, length, signal);
    };
    const failing = await store.acquire(blob.layout, slow);
    source.meddle = () => {
      throw new RafterError('UNAVAILABLE', 'gone');
    };
    expect((await failure(readAll(failing))).code).toBe('UNAVAILABLE');
    await expect.poll(() => source.aborted).toBe(1);
  });

  it('does not write to the target afterwards', async () => {
    const blob = sampleBlob([5000]);
    const { cache, source } = await open(blob);
    source.delayMs = 20;
    const abort = new AbortController();
    const target = Buffer.alloc(5000, 0xee);
    const read = failure(cache.read(0, target, abort.signal));
    const other = readAll(cache);
    abort.abort();
    await read;
    await other;
    expect(target).toEqual(Buffer.alloc(5000, 0xee));
  });

  it('by releasing the cache ends its reads; reading afterwards is a mistake of the caller', async () => {
    const { cache, source } = await open(sampleBlob([5000]));
    source.delayMs = 60_000;
    const read = failure(readAll(cache));
    await sleep(5);
    await store.release(cache);
    expect((await read).code).toBe('INTERRUPTED');
    await expect(readAll(cache)).rejects.toThrow('was released');
    expect(() => cache.readLocal(0, Buffer.alloc(1))).toThrow('was released');
  });
});

describe('images that share a blob', () => {
  it('share its data and its fetches', async () => {
    const blob = sampleBlob([5000, 6000]);
    const first = await open(blob);
    const second = await open(blob);
    first.source.delayMs = 20;
    const [a, b] = await Promise.all([readAt(first.cache, 0, 5000), readAt(second.cache, 0, 5000)]);
    expect(a.equals(b)).toBe(true);
    expect(first.source.requests.length + second.source.requests.length).toBe(1);
    await readAll(first.cache);
    const target = Buffer.alloc(blob.truth.length);
    expect(second.cache.readLocal(0, target)).toBe(true);
    expect(target.equals(blob.truth)).toBe(true);
  });

  it('ask their own source when the fetch they shared failed at the other', async () => {
    const blob = sampleBlob([5000]);
    const first = await open(blob);
    const second = await open(blob);
    first.source.delayMs = 10;
    first.source.meddle = () => {
      throw new RafterError('DENIED', 'no access');
    };
    const denied = failure(readAll(first.cache));
    const granted = readAll(second.cache);
    expect((await denied).code).toBe('DENIED');
    expect((await granted).equals(blob.truth)).toBe(true);
    expect(second.source.requests).toHaveLength(1);
  });

  it('lose nothing when the image whose fetch they share is unmounted', async () => {
    const blob = sampleBlob([5000]);
    const first = await open(blob);
    const second = await open(blob);
    first.source.delayMs = 30;
    const ended = failure(readAll(first.cache));
    const going = readAll(second.cache);
    await sleep(5);
    await store.release(first.cache);
    expect((await ended).code).toBe('INTERRUPTED');
    expect((await going).equals(blob.truth)).toBe(true);
  });

  it('may each know only some of the digests', async () => {
    const options = { id: 'shared' };
    const blob = sampleBlob([5000, 6000], options);
    const digest = blob.layout.chunkDigest;
    const even = { ...blob.layout, chunkDigest: (i: number) => (i === 0 ? digest(i) : undefined) };
    const odd = { ...blob.layout, chunkDigest: (i: number) => (i === 1 ? digest(i) : undefined) };
    const source = new SampleSource(blob.stored);
    const a = await store.acquire(even, source);
    const b = await store.acquire(odd, source);
    await readAt(a, 0, 5000);
    await readAt(b, blob.chunks[1]!.decodedOffset, 6000);
    const all = await store.acquire(blob.layout, noSource);
    expect((await readAll(all)).equals(blob.truth)).toBe(true);
  });

  for (const lyingFirst of [true, false]) {
    it(`never get bytes that another image planted under the blob's id (planted ${lyingFirst ? 'first' : 'last'})`, async () => {
      const honest = sampleBlob([5000, 6000], { compressor: 'none' });
      const lying = sampleBlob([5000, 6000], { compressor: 'none' });
      const open = async (blob: SampleBlob) => ({
        blob,
        cache: await store.acquire(blob.layout, new SampleSource(blob.stored)),
      });
      const images = [await open(honest), await open(lying)];
      if (lyingFirst) images.reverse();
      for (let round = 0; round < 3; round++) {
        for (const { cache, blob } of images) {
          expect((await readAll(cache)).equals(blob.truth)).toBe(true);
          const target = Buffer.alloc(blob.truth.length);
          if (cache.readLocal(0, target)) expect(target.equals(blob.truth)).toBe(true);
        }
      }
      const both = images.map(async ({ cache, blob }) => (await readAll(cache)).equals(blob.truth));
      expect(await Promise.all(both)).toEqual([true, true]);
      // With the liar gone its bytes give way.
      const liar = images.find(({ blob }) => blob === lying)!;
      const other = images.find(({ blob }) => blob === honest)!;
      await store.release(liar.cache);
      await readAll(other.cache);
      expect(other.cache.readLocal(0, Buffer.alloc(honest.truth.length))).toBe(true);
    });
  }

  it('keep files of their own when they disagree about the places of chunks', async () => {
    const honest = sampleBlob([5000, 6000]);
    const lying = sampleBlob([6000, 5000, 100]);
    const a = await open(honest);
    const b = await open(lying);
    for (let round = 0; round < 2; round++) {
      expect((await readAll(a.cache)).equals(honest.truth)).toBe(true);
      expect((await readAll(b.cache)).equals(lying.truth)).toBe(true);
    }
    expect(a.cache.readLocal(0, Buffer.alloc(honest.truth.length))).toBe(true);
    expect(b.cache.readLocal(0, Buffer.alloc(lying.truth.length))).toBe(true);
  });
});

describe('prefetch', () => {
  const signal = new AbortController().signal;

  it('brings chunks here that nobody has read, each once, and counts them for its class', async () => {
    const blob = sampleBlob([5000, [100, 200], 5000]);
    const { cache, source } = await open(blob);
    await readAt(cache, 0, 1);
    expect(await cache.prefetch([0, 1, 2, 3], { class: 'completion', signal })).toBe(true);
    expect(source.requests).toHaveLength(2);
    expect(store.fetchStats.classes.completion).toEqual({
      requests: 1,
      fetchedBytes: blob.stored.length - blob.chunks[0]!.storedSize,
    });
    expect(store.fetchStats.demandWait.count).toBe(1);
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    expect(await cache.prefetch([0, 1, 2, 3], { class: 'completion', signal })).toBe(true);
    expect(source.requests).toHaveLength(2);
    expect(cache.stats).toMatchObject({ hits: 4, misses: 1 });
  });

  it('that a reader joins is not fetched twice, and goes on without whoever began it', async () => {
    const blob = sampleBlob([5000]);
    const { cache, source } = await open(blob);
    source.delayMs = 50;
    const abort = new AbortController();
    const prefetch = failure(cache.prefetch([0], { class: 'readahead', signal: abort.signal }));
    await vi.waitFor(() => expect(source.requests).toHaveLength(1));
    const read = readAll(cache);
    await nextTurn();
    abort.abort();
    expect((await prefetch).code).toBe('INTERRUPTED');
    expect((await read).equals(blob.truth)).toBe(true);
    expect(source).toMatchObject({ aborted: 0, requests: { length: 1 } });
  });

  it('leaves out what the image does not use, and does nothing where nothing can be kept', async () => {
    const blob = sampleBlob([5000, 5000], { withoutDigest: (index) => index === 0 });
    const { cache, source } = await open(blob);
    expect(await cache.prefetch([0, 1], { class: 'completion', signal })).toBe(true);
    expect(source.requests).toHaveLength(1);
    const small = await CacheStore.open(join(dir, 'small'), { limit: 5000 });
    try {
      const other = await small.acquire(blob.layout, source);
      expect(await other.prefetch([1], { class: 'completion', signal })).toBe(false);
      expect(source.requests).toHaveLength(1);
    } finally {
      await small.close();
    }
  });

  it('by one that a reader joined late is tried again for the reader when it fails', async () => {
    const blob = sampleBlob([5000]);
    const { cache, source } = await open(blob);
    source.delayMs = 50;
    source.meddle = (bytes, request) => {
      if (request === 0) throw new RafterError('UNAVAILABLE', 'gone', { temporary: true });
      return bytes;
    };
    const prefetch = failure(cache.prefetch([0], { class: 'completion', signal }));
    await vi.waitFor(() => expect(source.requests).toHaveLength(1));
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    expect((await prefetch).code).toBe('UNAVAILABLE');
    expect(source.requests).toHaveLength(2);
  });
});
