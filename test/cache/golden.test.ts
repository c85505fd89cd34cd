import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { gunzipSync } from 'node:zlib';
import { extract } from 'tar-stream';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { layoutOf } from '../../src/cache/layout.js';
import { CacheStore } from '../../src/cache/store.js';
import { sha256 } from '../../src/codec/digest.js';
import { BlobMeta } from '../../src/rafs/blob-meta.js';
import { parseBootstrap } from '../../src/rafs/bootstrap.js';
import { CONTEXT_HEADER_SIZE } from '../../src/rafs/context-header.js';
import { walk } from '../../src/rafs/walk.js';
import { golden, goldenTree } from '../rafs/golden.js';
import { SampleSource } from './sample-blob.js';

/** Golden blobs are named by what is in them; images name them by their SHA-256. Layers and their contexts likewise. */
const blobs = new Map(
  ['v6', 'ref', 'in'].flatMap((folder) =>
    readdirSync(join(import.meta.dirname, '../../fixtures/golden', folder))
      .filter((file) => /\.(blob|meta|tar\.gz)$/.test(file))
      .map((file): [string, Buffer] => {
        const bytes = golden(`${folder}/${file}`);
        return [sha256(bytes).toString('hex'), bytes];
      }),
  ),
);

let dir: string;
let store: CacheStore;

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-golden-'));
  store = await CacheStore.open(dir);
});

afterEach(async () => {
  await store.close();
  rmSync(dir, { recursive: true });
});

/** Reads every file of a golden image through the cache; returns `path -> SHA-256`. */
async function readImage(name: string, folder = 'v6'): Promise<Map<string, string>> {
  const bootstrap = parseBootstrap(golden(`${folder}/${name}.boot`), name);
  const caches = await Promise.all(
    bootstrap.blobs.map((blob) => {
      const bytes = blobs.get(blob.id)!;
      const { offset, compressedSize } = blob.ci;
      const object = folder === 'ref' ? blobs.get(blob.metaDigest.toString('hex'))! : bytes;
      const context = object.subarray(offset, offset + compressedSize + CONTEXT_HEADER_SIZE);
      const layout = layoutOf(bootstrap, blob.index, BlobMeta.parseStored(context, blob));
      return store.acquire(layout, new SampleSource(bytes, blob.id));
    }),
  );
  const digests = new Map<string, string>();
  for (const { path, inode } of walk(bootstrap)) {
    if (inode.type !== 'file') continue;
    const content = Buffer.alloc(inode.size, 0xee);
    await Promise.all(
      Array.from({ length: inode.chunkCount }, (_, k) => {
        const { blobIndex, decodedOffset } = bootstrap.chunkAt(inode, k);
        const start = k * bootstrap.chunkSize;
        const part = content.subarray(start, start + bootstrap.chunkSize);
        return caches[blobIndex]!.read(decodedOffset, part);
      }),
    );
    digests.set(path.toString('latin1'), sha256(content).toString('hex'));
  }
  return digests;
}

for (const [image, tree, folder] of [
  ['full', 'full'],
  ['small', 'small'],
  ['small-64k', 'small'],
  ['small-batch', 'small'],
  ['small-lz4', 'small'],
  ['twin-dict', 'twin'],
  ['tiny-encrypted', 'tiny'],
  ['tiny-bare', 'tiny'],
  ['tiny-none', 'tiny'],
  ['tiny-sha256', 'tiny'],
  ['small-zran', 'small', 'ref'],
] as [image: string, tree: string, folder?: string][]) {
  it(`every file of ${image}, as the Nydus tools packed it, reads right and from the right places`, async () => {
    const expected = goldenTree(tree)
      .filter((row) => row.type === 'file')
      .map((row) => {
        const path = row.path64 === undefined ? Buffer.from(row.path!) : Buffer.from(row.path64, 'base64');
        return [path.toString('latin1'), row.sha256] as const;
      });
    expect(expected.length).toBeGreaterThanOrEqual(3);
    const found = await readImage(image, folder);
    expect([...found].sort()).toEqual([...expected].sort());
    expect(store.stats).toMatchObject({ decodeErrors: 0, refetches: 0, dropped: 0 });
  });
}

it('an image that packs the same small files in batches asks less often', async () => {
  await readImage('small');
  const alone = store.stats.requests;
  await readImage('small-batch');
  expect(store.stats.requests - alone).toBeLessThan(alone / 2);
});

it('every file of a layer of ten gzip slices is one of its tar', async () => {
  const found = await readImage('full1-zran', 'ref');
  const expected = new Set<string>();
  const tar = extract();
  tar.end(gunzipSync(golden('in/full1.tar.gz')));
  for await (const entry of tar) {
    const content = await buffer(entry);
    if (entry.header.type === 'file') expected.add(sha256(content).toString('hex'));
  }
  expect(expected.size).toBeGreaterThan(10);
  expect([...new Set(found.values())].sort()).toEqual([...expected].sort());
  expect(store.stats).toMatchObject({ decodeErrors: 0, refetches: 0 });
});

it('slices that overlap or lie side by side come with one request', async () => {
  const bootstrap = parseBootstrap(golden('ref/full1-zran.boot'), 'full1');
  const blob = bootstrap.blobs[0]!;
  const context = golden('ref/full1-zran.meta').subarray(0, blob.ci.compressedSize + CONTEXT_HEADER_SIZE);
  const layout = layoutOf(bootstrap, 0, BlobMeta.parseStored(context, blob));
  const cache = await store.acquire(layout, new SampleSource(golden('in/full1.tar.gz'), blob.id));
  await cache.read(0, Buffer.alloc(blob.uncompressedSize));
  expect(store.stats).toMatchObject({ decodeErrors: 0, misses: 46 });
  expect(store.stats.requests).toBeLessThan(10);
});

it('a blob index that does not exist is a mistake of the caller', () => {
  const bootstrap = parseBootstrap(golden('v6/nodata.boot'), 'nodata');
  expect(() => layoutOf(bootstrap, 7, {} as BlobMeta)).toThrow(RangeError);
});
