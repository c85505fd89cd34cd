import {
  copyFileSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { BlobCache } from '../../src/cache/blob-cache.js';
import type { BlobLayout } from '../../src/cache/layout.js';
import {
  decodeMapHeader,
  encodeMapHeader,
  MAP_HEADER_SIZE,
  mapPlaces,
} from '../../src/cache/storage/chunk-map.js';
import { CacheStore } from '../../src/cache/store.js';
import { noSource, type SampleBlob, SampleSource, sampleBlob } from './sample-blob.js';

let dir: string;
let blob: SampleBlob;
let data: string;
let map: string;

/** A directory with a complete, cleanly closed blob. */
beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-recovery-'));
  blob = sampleBlob([5000, [10, 20, 5000], 70_000, 1]);
  data = join(dir, `${blob.layout.id}.data`);
  map = join(dir, `${blob.layout.id}.map`);
  const store = await CacheStore.open(dir);
  await readAll(await store.acquire(blob.layout, new SampleSource(blob.stored)));
  await store.close();
});

afterEach(() => rmSync(dir, { recursive: true }));

async function readAll(cache: BlobCache): Promise<Buffer> {
  const target = Buffer.alloc(cache.layout.decodedSize, 0xee);
  await cache.read(0, target);
  return target;
}

async function withStore<T>(use: (store: CacheStore) => Promise<T>, where = dir): Promise<T> {
  const store = await CacheStore.open(where);
  try {
    return await use(store);
  } finally {
    await store.close();
  }
}

/** Reads the whole blob in a new session: nothing may be wrong. Returns how much had to be fetched and dropped. */
async function readInNewSession(where = dir, layout: BlobLayout = blob.layout) {
  return withStore(async (store) => {
    const source = new SampleSource(blob.stored);
    const cache = await store.acquire(layout, source);
    expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    const local = Buffer.alloc(blob.truth.length, 0xee);
    expect(cache.readLocal(0, local)).toBe(true);
    expect(local.equals(blob.truth)).toBe(true);
    return { requests: source.requests.length, dropped: cache.stats.dropped };
  }, where);
}

function change(path: string, alter: (bytes: Buffer) => Buffer | undefined): void {
  const bytes = readFileSync(path);
  writeFileSync(path, alter(bytes) ?? bytes);
}

/** What the map looks like after a process was killed. */
function makeDirty(): void {
  change(map, (bytes) => {
    const header = decodeMapHeader(bytes)!;
    encodeMapHeader({ ...header, clean: undefined }).copy(bytes);
    return undefined;
  });
}

const complete = { requests: 0, dropped: 0 };
const rebuilt = { requests: 1, dropped: 0 };

describe('after an unclean stop', () => {
  beforeEach(makeDirty);

  it('every chunk is verified again, and used if it is right', async () => {
    await withStore(async (store) => {
      const cache = await store.acquire(blob.layout, noSource);
      expect(cache.readLocal(0, Buffer.alloc(1))).toBe(false);
      expect((await readAll(cache)).equals(blob.truth)).toBe(true);
      expect(cache.readLocal(0, Buffer.alloc(1))).toBe(true);
    });
    expect(await readInNewSession()).toEqual(complete);
  });

  it('torn data is fetched again, and only that', async () => {
    change(data, (bytes) => {
      bytes.fill(0, blob.chunks[4]!.decodedOffset + 4096, blob.chunks[4]!.decodedOffset + 8192);
      return undefined;
    });
    expect(await readInNewSession()).toEqual({ requests: 1, dropped: 1 });
    expect(await readInNewSession()).toEqual(complete);
  });

  it('data that never reached the disk is fetched again', async () => {
    writeFileSync(data, Buffer.alloc(blob.truth.length));
    expect(await readInNewSession()).toEqual({ requests: 1, dropped: blob.chunks.length });
  });

  it('many readers of one suspect chunk verify it once', async () => {
    await withStore(async (store) => {
      const cache = await store.acquire(blob.layout, noSource);
      const { decodedOffset } = blob.chunks[4]!;
      const reads = Array.from({ length: 20 }, async (_, i) => {
        const target = Buffer.alloc(100);
        await cache.read(decodedOffset + i * 100, target);
        expect(target.equals(blob.truth.subarray(decodedOffset + i * 100).subarray(0, 100))).toBe(true);
      });
      await Promise.all(reads);
    });
  });

  it('a chunk that nobody read is still verified at its first use in a later session', async () => {
    const last = blob.chunks.at(-1)!;
    await withStore(async (store) => {
      const cache = await store.acquire(blob.layout, noSource);
      await cache.read(0, Buffer.alloc(10));
    });
    await withStore(async (store) => {
      const cache = await store.acquire(blob.layout, noSource);
      expect(cache.readLocal(0, Buffer.alloc(5000))).toBe(true);
      expect(cache.readLocal(last.decodedOffset, Buffer.alloc(1))).toBe(false);
      expect((await readAll(cache)).equals(blob.truth)).toBe(true);
    });
    expect(await readInNewSession()).toEqual(complete);
  });

  it('a bit without its digest means a verification, not a loss', async () => {
    change(map, (bytes) => bytes.fill(0, mapPlaces(blob.chunks.length).records));
    expect(await readInNewSession()).toEqual(complete);
  });
});

describe('a copy of the files at any moment', () => {
  it('is served right, whatever of it is old, new or half written', async () => {
    const work = join(dir, 'work');
    const copies = join(dir, 'copies');
    const store = await CacheStore.open(work);
    const source = new SampleSource(blob.stored);
    source.delayMs = 1;
    const cache = await store.acquire(blob.layout, source);
    let copied = 0;
    const copy = () => cpSync(work, join(copies, String(copied++)), { recursive: true });
    for (const { decodedOffset } of blob.chunks) {
      const read = cache.read(decodedOffset, Buffer.alloc(1));
      copy();
      await sleep(1);
      copy();
      await read;
      copy();
    }
    // Bits are written a second after they are set.
    await sleep(1300);
    copy();
    await store.close();
    copy();
    for (let i = 0; i < copied; i++) await readInNewSession(join(copies, String(i)));
    // Data of one moment under the map of another.
    for (let i = 1; i < copied; i++) {
      const name = `${blob.layout.id}.data`;
      copyFileSync(join(copies, '0', name), join(copies, String(i), name));
      await readInNewSession(join(copies, String(i)));
    }
  });

  it('has the bits a second after they were set', async () => {
    rmSync(map);
    await withStore(async (store) => {
      await readAll(await store.acquire(blob.layout, new SampleSource(blob.stored)));
      await sleep(1300);
      mkdirSync(join(dir, 'copy'));
      for (const path of [data, map]) copyFileSync(path, join(dir, 'copy', basename(path)));
    });
    expect(await readInNewSession(join(dir, 'copy'))).toEqual(complete);
  });
});

describe('files that are not what was closed', () => {
  const places = () => mapPlaces(blob.chunks.length);
  const flip = (at: number) => (bytes: Buffer) => {
    bytes[at]! ^= 0x10;
    return undefined;
  };

  const maps: [string, (bytes: Buffer) => Buffer | undefined][] = [
    ['empty', () => Buffer.alloc(0)],
    ['shorter than a header', (bytes) => bytes.subarray(0, 100)],
    ['short by a byte', (bytes) => bytes.subarray(0, bytes.length - 1)],
    ['long by a byte', (bytes) => Buffer.concat([bytes, Buffer.alloc(1)])],
    ['of random text', (bytes) => Buffer.alloc(bytes.length, 'nonsense')],
    ['of zeros', (bytes) => bytes.fill(0)],
    ['with another magic', flip(0)],
    ['with a damaged version', flip(8)],
    ['with a damaged state', flip(12)],
    ['with a damaged chunk count', flip(16)],
    ['with a damaged checksum', flip(144)],
    ['with a damaged bitmap', flip(MAP_HEADER_SIZE)],
    ['with bits behind the last chunk', (bytes) => bytes.fill(0xff, MAP_HEADER_SIZE, MAP_HEADER_SIZE + 1)],
  ];
  for (const [name, alter] of maps) {
    it(`a map ${name} is made anew`, async () => {
      change(map, alter);
      expect(await readInNewSession()).toEqual(rebuilt);
      expect(await readInNewSession()).toEqual(complete);
    });
  }

  it('a dirty map with bits behind the last chunk is made anew', async () => {
    makeDirty();
    change(map, (bytes) => bytes.fill(0xff, MAP_HEADER_SIZE, MAP_HEADER_SIZE + 1));
    expect(await readInNewSession()).toEqual(rebuilt);
  });

  it('a map of another blob is made anew', async () => {
    const other = sampleBlob([5000, [10, 20, 5000], 70_000, 1], { id: 'other' });
    await withStore(async (store) => {
      await readAll(await store.acquire(other.layout, new SampleSource(other.stored)));
    });
    copyFileSync(join(dir, 'other.map'), map);
    copyFileSync(join(dir, 'other.data'), data);
    expect(await readInNewSession()).toEqual(rebuilt);
  });

  it('a digest that rotted in the map costs that chunk only', async () => {
    change(map, flip(places().records + 4 * 32));
    expect(await readInNewSession()).toEqual({ requests: 1, dropped: 0 });
    expect(await readInNewSession()).toEqual(complete);
  });

  it('a missing map empties the data', async () => {
    rmSync(map);
    await withStore(async (store) => {
      await store.acquire(blob.layout, noSource);
      expect(statSync(data).blocks).toBe(0);
    });
  });

  for (const [name, size] of [
    ['missing', undefined],
    ['empty', 0],
    ['short', 4096],
    ['long', 1 << 20],
  ] as const) {
    it(`data that is ${name} starts anew`, async () => {
      if (size === undefined) rmSync(data);
      else truncateSync(data, size);
      expect(await readInNewSession()).toEqual(rebuilt);
      expect(statSync(data).size).toBe(blob.truth.length);
    });
  }

  it('data that was changed after the close is verified again', async () => {
    change(data, flip(blob.chunks[0]!.decodedOffset));
    expect(await readInNewSession()).toEqual({ requests: 1, dropped: 1 });
  });

  it('data that was replaced by a file of the same size and time is verified again', async () => {
    const { atime, mtime } = statSync(data);
    const bytes = readFileSync(data);
    bytes[0]! ^= 1;
    writeFileSync(`${data}.new`, bytes);
    utimesSync(`${data}.new`, atime, mtime);
    renameSync(`${data}.new`, data);
    expect(await readInNewSession()).toEqual({ requests: 1, dropped: 1 });
  });

  it('bytes of a foreign data file never show in gaps', async () => {
    makeDirty();
    change(data, (bytes) => bytes.fill(0xaa));
    expect((await readInNewSession()).dropped).toBe(blob.chunks.length);
  });
});

describe('while it is open', () => {
  it('a data file that is cut off is fetched again, not read as zeros', async () => {
    await withStore(async (store) => {
      const source = new SampleSource(blob.stored);
      const cache = await store.acquire(blob.layout, source);
      const { decodedOffset } = blob.chunks[4]!;
      truncateSync(data, decodedOffset + 10);
      expect(cache.readLocal(decodedOffset, Buffer.alloc(5000))).toBe(false);
      expect((await readAll(cache)).equals(blob.truth)).toBe(true);
      expect(cache.stats.dropped).toBeGreaterThan(0);
      expect((await readAll(cache)).equals(blob.truth)).toBe(true);
      expect(source.requests.length).toBeLessThanOrEqual(2);
    });
    expect(await readInNewSession()).toMatchObject({ dropped: 0 });
  });
});
