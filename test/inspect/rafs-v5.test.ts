import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { layoutOf } from '../../src/cache/layout.js';
import { CacheStore } from '../../src/cache/store.js';
import { type Compressor, compress } from '../../src/codec/compressor.js';
import { chunkDigest, type DigestAlgorithm, sha256 } from '../../src/codec/digest.js';
import { tarOfTree } from '../../src/export/tree-tar.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { checkImage } from '../../src/inspect/check-image.js';
import { checkInodesV5 } from '../../src/inspect/check-v5.js';
import { createContentReader } from '../../src/inspect/content.js';
import { describe as describeImage } from '../../src/inspect/describe.js';
import { diffImages } from '../../src/inspect/diff-images.js';
import { createFaultList } from '../../src/inspect/faults.js';
import { openImage } from '../../src/inspect/open-image.js';
import { createImageView } from '../../src/mount/drivers/image-view.js';
import { parseBootstrap } from '../../src/rafs/bootstrap.js';
import type { BootstrapV5 } from '../../src/rafs/v5/bootstrap-v5.js';
import { walk } from '../../src/rafs/walk.js';
import { SampleSource } from '../cache/sample-blob.js';
import { writeGoldenLayout } from '../mount/layouts.js';
import { golden, goldenTree } from '../rafs/golden.js';
import { buildSample, FILE_MODE, ROOT_MODE, type SampleInode } from '../rafs/v5/sample.js';
import { putTogether } from '../support/nydus-layout.js';
import { plant } from './planted-image.js';

let dir: string;
beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-v5-'));
  await writeGoldenLayout('small', join(dir, 'six'));
});
afterAll(() => rmSync(dir, { recursive: true }));

const boot = () => golden('v5/small.boot');
const blob = golden('v5/small.blob');
const source = (path: string) => new LayoutSource({ transport: 'oci', path: join(dir, path), tag: 'latest' });

let count = 0;
/** The golden image with changes to its bootstrap and blob, as a layout. */
async function image(
  change: (bootstrap: BootstrapV5, bytes: Buffer) => void = () => {},
  stored = blob,
): Promise<LayoutSource> {
  const bytes = boot();
  change(parseBootstrap(bytes, 'v5') as BootstrapV5, bytes);
  const path = `five${count++}`;
  await putTogether({ bootstrap: bytes, blobs: [stored] }, { path: join(dir, path), tag: 'latest' });
  return source(path);
}

const sums = goldenTree('small')
  .filter(({ type }) => type === 'file')
  .map(({ path, sha256 }) => `${path} ${sha256}`)
  .sort();

it('every file is read right, alone and through the cache', async () => {
  const opened = await openImage(await image());
  const content = createContentReader(opened, { everything: true });
  const found: string[] = [];
  for (const { path, inode } of walk(opened.bootstrap)) {
    if (inode.type === 'file')
      found.push(`${path} ${sha256(await buffer(content.read(inode))).toString('hex')}`);
  }
  expect(found.sort()).toEqual(sums);

  const store = await CacheStore.open(join(dir, 'cache'));
  try {
    const cache = await store.acquire(await opened.layout(0), new SampleSource(blob, 'small'));
    const view = createImageView({ bootstrap: opened.bootstrap, blobs: [cache] });
    const read: string[] = [];
    for (const { path, inode } of walk(opened.bootstrap)) {
      if (inode.type !== 'file') continue;
      const bytes = Buffer.alloc(inode.size + 1);
      const size = await view.read(inode.nid, 0, bytes);
      read.push(`${path} ${sha256(bytes.subarray(0, size)).toString('hex')}`);
    }
    expect(read.sort()).toEqual(sums);
    expect(store.stats).toMatchObject({ decodeErrors: 0, refetches: 0 });
    expect(await opened.layout(0)).toMatchObject({ chunkCount: 23, decodedSize: 841338, compressor: 'zstd' });
    expect(() => layoutOf(opened.bootstrap, 1, opened.bootstrap.chunkMap(0)!)).toThrow(RangeError);
  } finally {
    await store.close();
  }
});

it('the same layer as RAFS v5 and v6: no difference, and the same tar', async () => {
  const five = await image();
  expect(await diffImages(five, source('six'), { platform: 'linux/amd64' })).toEqual([]);
  const tars = await Promise.all(
    [five, source('six')].map(async (from) => {
      const opened = await openImage(from, { platform: 'linux/amd64' });
      const tar = tarOfTree(opened.bootstrap, createContentReader(opened), {
        name: 'x',
        onWarning: () => {},
      });
      return (await buffer(tar)).toString('latin1');
    }),
  );
  expect(tars[0] === tars[1]).toBe(true);
  expect(await describeImage(five, { platform: 'linux/amd64' })).toMatchObject({
    nydus: {
      fsVersion: 5,
      chunkSize: 1 << 20,
      compressor: 'zstd',
      digester: 'blake3',
      chunks: 23,
      prefetch: ['/'],
    },
  });
});

const COMPRESSORS = { none: 0x1, lz4_block: 0x2, gzip: 0x40, zstd: 0x80 } as const;
const DIGESTERS = { blake3: 0x4, sha256: 0x8 } as const;

describe.each(Object.entries(DIGESTERS))('%s', (digester, digestFlag) => {
  it.each(Object.entries(COMPRESSORS))('%s, chunks of 4 KiB, 1 MiB and 16 MiB', async (compressor, flag) => {
    for (const chunkSize of [0x1000, 0x100000, 0x1000000]) {
      const text = Buffer.from('RAFS of the fifth version. '.repeat((chunkSize * 1.3) / 27));
      const pieces = [text.subarray(0, chunkSize), text.subarray(chunkSize)];
      const stored = pieces.map((piece) => compress(compressor as Compressor, piece));
      const chunks = pieces.map((piece, i) => ({
        size: piece.length,
        // Byte-packed, behind a chunk that this image does not use.
        decodedOffset: 77 + i * chunkSize,
        storedOffset: 5 + (i === 0 ? 0 : stored[0]!.length),
        storedSize: stored[i]!.length,
        flags: compressor === 'none' ? 0 : 1,
        index: i + 1,
        digest: chunkDigest(digester as DigestAlgorithm, piece),
      }));
      const bytes = Buffer.concat([Buffer.alloc(5), ...stored]);
      const ext = [
        { chunkCount: 3, features: 0x40000000, decodedSize: 77 + text.length, storedSize: bytes.length },
      ];
      const root: SampleInode = { name: '/', parent: 0, mode: ROOT_MODE, nlink: 2, children: [2, 1] };
      const { bytes: bootstrap } = buildSample({
        inodes: [root, { name: 'text', parent: 1, mode: FILE_MODE, chunks }],
        blobs: [sha256(bytes).toString('hex')],
        ext,
        chunkSize,
        flags: 0x10 | flag | digestFlag,
      });
      const path = join(dir, `${compressor}-${digester}-${chunkSize}`);
      await putTogether({ bootstrap, blobs: [bytes] }, { path, tag: 'latest' });
      const opened = await openImage(new LayoutSource({ transport: 'oci', path, tag: 'latest' }));
      const content = await buffer(createContentReader(opened).read(opened.bootstrap.inode(2)));
      expect(content.equals(text), `${chunkSize}`).toBe(true);
    }
  });
});

it('a blob of which no file needs a chunk, and one without any, have caches like others', async () => {
  const root: SampleInode = { name: '/', parent: 0, mode: ROOT_MODE, nlink: 2 };
  const ext = [{ chunkCount: 4 }, { chunkCount: 0, decodedSize: 0, storedSize: 0 }];
  const sample = buildSample({ inodes: [root], blobs: ['a'.repeat(64), 'b'.repeat(64)], ext });
  const bootstrap = parseBootstrap(sample.bytes);
  const store = await CacheStore.open(join(dir, 'unused'));
  try {
    for (const { index } of bootstrap.blobs) {
      const layout = layoutOf(bootstrap, index, bootstrap.chunkMap(index)!);
      expect(layout.chunkCount).toBe(0);
      await store.release(await store.acquire(layout, new SampleSource(blob, 'nothing')));
    }
  } finally {
    await store.close();
  }
});

describe('check', () => {
  const check = async (from: LayoutSource) => {
    const { faults, names, chunks } = await checkImage(from, { platform: 'linux/amd64' });
    return {
      faults: faults.map(({ part, message, path }) => [part, message, path].join(': ')),
      names,
      chunks,
    };
  };

  it('finds nothing in a good image', async () => {
    expect(await check(await image())).toEqual({ faults: [], names: 30, chunks: 23 });
  });

  it.each([
    ['5', 0],
    ['6', 1],
  ])('expects that the manifest announces the version: %s', async (announced, expected) => {
    const changed = await plant(await image(), join(dir, `announced${announced}`), {
      manifest: (json) => {
        const { layers } = json as { layers: { annotations: Record<string, string> }[] };
        layers.at(-1)!.annotations['containerd.io/snapshot/nydus-fs-version'] = announced;
      },
    });
    const { faults } = await check(changed);
    expect(faults).toHaveLength(expected);
    for (const fault of faults) expect(fault).toMatch(/nydus-fs-version is "6", expected "5"/);
  });

  const nidOf = (bootstrap: BootstrapV5, type: string) =>
    [...walk(bootstrap)].find(
      ({ inode }) => inode.type === type && (type !== 'file' || inode.chunkCount > 0),
    )!.inode.nid;
  const changeAt =
    (type: string, at: number, by = 1) =>
    (bootstrap: BootstrapV5, bytes: Buffer) => {
      const { offset } = bootstrap.record(type === 'root' ? 1 : nidOf(bootstrap, type));
      bytes[offset + at]! += by;
    };

  const changeNumber = (number: number) => (bootstrap: BootstrapV5, bytes: Buffer) => {
    bytes.writeUInt32LE(number, bootstrap.chunkList(0).entryOffset(22) + 72);
  };

  it.each([
    ['digest of a file', 'is not that of its content', changeAt('file', 0)],
    ['digest of a symlink', 'is not that of its target', changeAt('symlink', 5)],
    ['digest of the root', 'is not that of its children', changeAt('root', 31)],
    ['target', 'is not that of its target', changeAt('symlink', 136)],
    ['links of a file', 'links, but 1 names', changeAt('file', 88)],
    ['inodes', 'inodes, but there are 29', (_: BootstrapV5, bytes: Buffer) => void bytes[24]!--],
    [
      'second name',
      'whose name it is',
      (bootstrap: BootstrapV5, bytes: Buffer) => {
        for (let i = 1; i <= bootstrap.inodeCount; i++) {
          const { nid, offset } = bootstrap.record(i);
          if (nid !== i) bytes[offset + 48]!++;
        }
      },
    ],
    ['chunk number', 'chunk number 255 in a blob of 23', changeNumber(255)],
    ['order of chunk numbers', 'behind chunk number', changeNumber(0)],
  ])('finds a wrong %s', async (_, text, change) => {
    const { faults } = await check(await image(change));
    expect(faults.join('\n')).toContain(text);
  });

  it('ends soon where directories claim all inodes', () => {
    const count = 2000;
    const directory = (i: number): SampleInode => ({
      name: `d${10_000 + i}`,
      parent: 1,
      mode: ROOT_MODE,
      nlink: 2,
      children: [i + 1, count - i + 1],
    });
    const root: SampleInode = {
      name: '/',
      parent: 0,
      mode: ROOT_MODE,
      nlink: count + 2,
      children: [2, count],
    };
    const inodes = [
      root,
      ...Array.from({ length: count }, (_, i) => directory(i + 2)).slice(0, -1),
      { name: 'z', parent: 1, mode: ROOT_MODE, nlink: 2 },
    ];
    const faults = createFaultList();
    checkInodesV5(parseBootstrap(buildSample({ inodes }).bytes) as BootstrapV5, faults);
    expect(faults.faults.at(-1)!.message).toContain('lies over what others hold');
  });

  it('finds damaged chunks, with the file', async () => {
    const damaged = Buffer.from(blob);
    const layout = await (await openImage(await image())).layout(0);
    damaged[layout.chunk(4).storedOffset + 1]! ^= 0xff;
    const id = sha256(damaged).toString('hex');
    const { faults, chunks } = await check(
      await image((bootstrap, bytes) => {
        bytes.write(id, bytes.indexOf(bootstrap.blobs[0]!.id));
      }, damaged),
    );
    expect(faults).toEqual([expect.stringMatching(/^blob: .*chunk 4 .* is damaged.*: \/.+/)]);
    expect(chunks).toBe(23);
  });

  it('reports what makes an image unreadable', async () => {
    const { faults } = await check(await image((_, bytes) => void bytes.writeUInt32LE(0xffffff, 8192)));
    expect(faults.join('\n')).toContain('inode table entry 1');
  });
});
