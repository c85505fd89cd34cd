import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BlobCache } from '../../src/cache/blob-cache.js';
import { BlobPieces } from '../../src/cache/blob-pieces.js';
import { PieceArrivals } from '../../src/cache/fetch/piece-arrivals.js';
import type { PiecePlace } from '../../src/cache/pieces.js';
import { TrustedReader } from '../../src/cache/storage/shared-trust.js';
import { CacheStore } from '../../src/cache/store.js';
import { awaited, propertyRuns } from '../support/property.js';
import { type SampleBlob, SampleSource, sampleBlob } from './sample-blob.js';

const PAGE = 4096;
let dir: string;
let store: CacheStore;
let fd: number;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-pieces-'));
  store = await CacheStore.open(join(dir, 'cache'));
  fd = openSync(join(dir, 'pieces'), 'w+');
});

afterEach(async () => {
  await store.close();
  closeSync(fd);
  rmSync(dir, { recursive: true });
});

/** Unit bytes of the stream: 1000 each. */
const UNIT = 1000;

/** A view of `blob` with the pages `ranges` ([first, count]) as pieces, a unit each; `arrive` lets the next one come. */
async function withPieces(blob: SampleBlob, ranges: [number, number][], askedAt = performance.now()) {
  ftruncateSync(fd, 0);
  const source = new SampleSource(blob.stored);
  const cache = await store.acquire(blob.layout, source);
  let position = 0;
  const places = ranges.map(([page, count], unit): PiecePlace => {
    const length = Math.min(count * PAGE, blob.truth.length - page * PAGE);
    const place = { offset: page * PAGE, length, position, unit };
    position += length;
    return place;
  });
  const arrivals = new PieceArrivals({ ends: places.map(({ unit }) => (unit + 1) * UNIT), askedAt });
  cache.attachPieces(new BlobPieces(places, { fd, arrivals }));
  const arrive = () => {
    const { offset, length, position: at, unit } = places[arrivals.count]!;
    writeSync(fd, blob.truth.subarray(offset, offset + length), 0, length, at);
    arrivals.noteBytes((unit + 1) * UNIT);
    arrivals.publish();
  };
  return { cache, source, arrivals, arrive };
}

async function read(cache: BlobCache, page: number, count: number, signal?: AbortSignal): Promise<Buffer> {
  const target = Buffer.alloc(count * PAGE, 0xee);
  await cache.read(page * PAGE, target, signal);
  return target;
}

/** As another thread reads. */
function readByThread(cache: BlobCache, page: number, count: number): Buffer | undefined {
  const reader = new TrustedReader(cache.share()!);
  try {
    const target = Buffer.alloc(count * PAGE, 0xee);
    return reader.readLocal(page * PAGE, target) ? target : undefined;
  } finally {
    reader.close();
  }
}

const pages = ({ truth }: SampleBlob, page: number, count: number) =>
  truth.subarray(page * PAGE, (page + count) * PAGE);

describe('what has come', () => {
  it('is read without a request, at once, also by another thread; nothing else of the chunk is', async () => {
    const blob = sampleBlob([40 * PAGE]);
    const { cache, source, arrive } = await withPieces(blob, [
      [3, 2],
      [10, 1],
      [5, 3],
    ]);
    const target = Buffer.alloc(PAGE);
    expect(cache.readLocal(3 * PAGE, target)).toBe(false);
    expect(readByThread(cache, 3, 1)).toBeUndefined();
    arrive();
    expect(cache.readLocal(3 * PAGE, target)).toBe(true);
    expect(target.equals(pages(blob, 3, 1))).toBe(true);
    expect(readByThread(cache, 4, 1)?.equals(pages(blob, 4, 1))).toBe(true);
    expect(readByThread(cache, 4, 2)).toBeUndefined();
    arrive();
    arrive();
    // Two pieces side by side.
    expect(readByThread(cache, 4, 3)?.equals(pages(blob, 4, 3))).toBe(true);
    expect((await read(cache, 3, 5)).equals(pages(blob, 3, 5))).toBe(true);
    expect(source.requests).toEqual([]);
    expect((await read(cache, 2, 2)).equals(pages(blob, 2, 2))).toBe(true);
    expect(source.requests).toHaveLength(1);
  });

  it('goes together with chunks that are here, and with gaps between chunks', async () => {
    const blob = sampleBlob([4 * PAGE, 2 * PAGE + 5, 4 * PAGE], { gapBefore: (i) => i });
    const { cache, source, arrive } = await withPieces(blob, [[0, 8]]);
    arrive();
    const all = blob.truth.length / PAGE;
    // The last chunk, and so what is behind the pieces.
    await read(cache, all - 1, 1);
    expect(source.requests).toHaveLength(1);
    const target = Buffer.alloc(blob.truth.length, 0xee);
    expect(cache.readLocal(0, target)).toBe(true);
    expect(target.equals(blob.truth)).toBe(true);
    expect(readByThread(cache, 0, all)?.equals(blob.truth)).toBe(true);
    expect((await read(cache, 0, all)).equals(blob.truth)).toBe(true);
    expect(source.requests).toHaveLength(1);
  });

  it('is fetched after all where the file of the pieces cannot be read', async () => {
    const blob = sampleBlob([40 * PAGE]);
    const { cache, source, arrive } = await withPieces(blob, [[3, 2]]);
    arrive();
    ftruncateSync(fd, 0);
    expect((await read(cache, 3, 2)).equals(pages(blob, 3, 2))).toBe(true);
    expect(source.requests).toHaveLength(1);
  });
});

describe('what is on its way', () => {
  it('is waited for, and what the pieces do not have is fetched meanwhile', async () => {
    const blob = sampleBlob([10 * PAGE, 10 * PAGE]);
    const { cache, source, arrive } = await withPieces(blob, [
      [0, 1],
      [8, 2],
    ]);
    const reading = read(cache, 8, 4);
    await expect.poll(() => source.requests.length).toBe(1);
    arrive();
    arrive();
    expect((await reading).equals(pages(blob, 8, 4))).toBe(true);
    expect(source.requests).toHaveLength(1);
  });

  it('is fetched at once when the stream has failed, while somebody waits or before', async () => {
    const blob = sampleBlob([10 * PAGE]);
    const { cache, source, arrivals } = await withPieces(blob, [[0, 1]]);
    const reading = read(cache, 0, 1);
    arrivals.end();
    expect((await reading).equals(pages(blob, 0, 1))).toBe(true);
    expect((await read(cache, 0, 1)).equals(pages(blob, 0, 1))).toBe(true);
    expect(source.requests).toHaveLength(1);
  });

  it('is fetched when the stream gives nothing any more', async () => {
    const blob = sampleBlob([10 * PAGE]);
    const { cache, source } = await withPieces(blob, [[0, 1]]);
    expect((await read(cache, 0, 1)).equals(pages(blob, 0, 1))).toBe(true);
    expect(source.requests).toHaveLength(1);
  });

  it('is fetched when it is so far behind in the stream that the chunk is here sooner', async () => {
    const blob = sampleBlob([PAGE, PAGE]);
    const ranges = Array.from({ length: 400 }, (): [number, number] => [1, 1]);
    // Asked for a millisecond before the first bytes: a round trip costs next to nothing.
    const { cache, source, arrive } = await withPieces(blob, [[0, 1], ...ranges], performance.now() - 1);
    arrive();
    const far = new PieceArrivals({
      ends: ranges.map((_, i) => i * 1_000_000),
      askedAt: performance.now() - 1,
    });
    far.noteBytes(1);
    expect(await far.wait(399, { chunkBytes: 100, isDear: () => false }, new AbortController().signal)).toBe(
      false,
    );
    expect((await read(cache, 0, 1)).equals(pages(blob, 0, 1))).toBe(true);
    expect(source.requests).toHaveLength(0);
  });

  it('is waited for, however far behind and slow, as long as chunks cost a piece of a peer', async () => {
    const blob = sampleBlob([PAGE, PAGE]);
    const ranges = Array.from({ length: 400 }, (): [number, number] => [1, 1]);
    const ends = ranges.map((_, i) => i * 1_000_000);
    const far = new PieceArrivals({ ends, askedAt: performance.now() - 1 });
    far.noteBytes(1);
    let isDear = true;
    let isOver = false;
    const { signal } = new AbortController();
    const waiting = far.wait(300, { chunkBytes: 100, isDear: () => isDear }, signal).finally(() => {
      isOver = true;
    });
    far.publish();
    await new Promise((resolve) => setImmediate(resolve));
    expect(isOver).toBe(false);
    isDear = false;
    far.publish();
    expect(await waiting).toBe(false);
    const { cache, source, arrive } = await withPieces(blob, [[0, 1]]);
    Object.assign(source, { pieceBytes: 1 << 20 });
    const reading = read(cache, 0, 1);
    arrive();
    expect((await reading).equals(pages(blob, 0, 1))).toBe(true);
    expect(source.requests).toHaveLength(0);
  });

  it('is no longer waited for by a reader who gives up', async () => {
    const blob = sampleBlob([10 * PAGE]);
    const { cache, source, arrive } = await withPieces(blob, [[0, 1]]);
    const abort = new AbortController();
    const reading = read(cache, 0, 1, abort.signal);
    const other = read(cache, 0, 1);
    abort.abort();
    await expect(reading).rejects.toMatchObject({ code: 'INTERRUPTED' });
    arrive();
    expect((await other).equals(pages(blob, 0, 1))).toBe(true);
    expect(source.requests).toHaveLength(0);
  });
});

it('whatever comes when, every read gets the bytes of the blob', async () => {
  const blob = sampleBlob([3 * PAGE, 5 * PAGE + 9, [PAGE, 100, 2 * PAGE], 4 * PAGE], {
    gapBefore: (i) => i % 2,
  });
  const total = blob.truth.length / PAGE;
  const step = fc.oneof(
    fc.constant('arrive' as const),
    fc.tuple(fc.nat(total - 1), fc.integer({ min: 1, max: total }), fc.boolean()),
  );
  const { predicate, settle } = awaited(
    async (cuts: number[], order: number[], steps: ('arrive' | [number, number, boolean])[]) => {
      const borders = [...new Set([0, ...cuts, total])].sort((a, b) => a - b);
      const all = borders.slice(1).map((end, i): [number, number] => [borders[i]!, end - borders[i]!]);
      // Some of them, in any order.
      const ranges = all.filter((_, i) => i % 3 !== 2).sort((a, b) => order[a[0] % 8]! - order[b[0] % 8]!);
      const { cache, arrivals, arrive } = await withPieces(blob, ranges);
      const running: Promise<void>[] = [];
      for (const one of steps) {
        if (one === 'arrive') {
          if (arrivals.count < ranges.length) arrive();
          continue;
        }
        const [page, wanted, byThread] = one;
        const count = Math.min(wanted, total - page);
        const check = (bytes: Buffer | undefined) =>
          expect(bytes === undefined || bytes.equals(pages(blob, page, count))).toBe(true);
        if (byThread) check(readByThread(cache, page, count));
        else running.push(read(cache, page, count).then(check));
      }
      while (arrivals.count < ranges.length) arrive();
      await Promise.all(running);
      await store.release(cache);
    },
  );
  try {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.nat(total - 1), { maxLength: 6 }),
        fc.array(fc.nat(7), { minLength: 8, maxLength: 8 }),
        fc.array(step, { maxLength: 12 }),
        predicate,
      ),
      propertyRuns(40),
    );
  } finally {
    await settle();
  }
});
