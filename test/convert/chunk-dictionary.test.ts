import { createHash } from 'node:crypto';
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { chunkDigest, crc32c } from '../../src/codec/digest.js';
import { ChunkDictionary } from '../../src/convert/chunk-dictionary.js';
import type { ConvertOptions } from '../../src/convert/options.js';
import { packBootstrapLayer, unpackBootstrapLayer } from '../../src/image/bootstrap-layer.js';
import { type Descriptor, hexOf } from '../../src/image/descriptor.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { parseImageManifest } from '../../src/image/manifest.js';
import { OCI_MANIFEST } from '../../src/image/media-types.js';
import { findBootstrapLayer } from '../../src/image/nydus-manifest.js';
import type { ImageSource } from '../../src/image/source.js';
import { readBootstrapTables } from '../../src/rafs/bootstrap-tables.js';
import { convertLayout, goldenTar, makeLayout } from './layouts.js';
import { readImage } from './read-image.js';
import { makeTar } from './tar-writer.js';

// Conversions start threads, which takes its time on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 });

const MiB = 1 << 20;
const noise = (seed: string, size: number) =>
  createHash('shake256', { outputLength: size }).update(seed).digest();
const small = (from: number, to: number) =>
  Array.from({ length: to - from }, (_, i) => ({
    name: `small${from + i}`,
    data: `${from + i} `.repeat(300),
  }));

/** Two versions of an image: the second has most of the first, under other names, and some of its own. */
const first = [
  makeTar([{ name: 'big', data: noise('big', 2.5 * MiB) }, ...small(0, 20)]),
  makeTar([{ name: 'other', data: noise('other', MiB + 5) }]),
];
const second = [
  makeTar([{ name: 'moved', data: noise('big', 2.5 * MiB) }, ...small(10, 30)]),
  makeTar([{ name: 'dir/', type: '5' }, { name: '.wh.small11' }]),
  makeTar([
    { name: 'grown', data: Buffer.concat([noise('other', MiB), noise('more', 3000)]) },
    { name: 'again', data: noise('big', 2.5 * MiB) },
    { name: 'own', data: noise('own', 7000) },
  ]),
];

const sourceOf = (path: string, tag = 'out') => new LayoutSource({ transport: 'oci', path, tag });
const targetOf = (path: string) => new LayoutTarget({ transport: 'oci', path, tag: 'out' });
const options = { chunkSize: MiB, digester: 'blake3' as const, platform: 'linux/amd64', signal: undefined };
const history = { history: second.map((_, i) => ({ created_by: `step ${i}` })) };

async function convertWith(
  dictionaryDirs: string[],
  more: ConvertOptions & { target?: string; cacheDir?: string } = {},
) {
  const { target, cacheDir, ...rest } = more;
  return convertLayout(makeLayout(second, { config: history }), rest, {
    dictionaries: dictionaryDirs.map((dir) => sourceOf(dir)),
    ...(target !== undefined && { target: targetOf(target) }),
    cacheDir,
  });
}

/** Converted once for all tests, which must not change them. */
const converted = {
  first: once(() => convertLayout(makeLayout(first))),
  second: once(() => convertLayout(makeLayout(second, { config: history }))),
};

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => {
    made ??= make();
    return made;
  };
}

/** A dictionary that a test may change. */
async function copyOfFirst() {
  const { dir, summary } = await converted.first();
  const copy = `${dir}-${++copies}`;
  cpSync(dir, copy, { recursive: true });
  return { dir: copy, summary };
}
let copies = 0;

describe('with another image as dictionary', () => {
  it('shares its chunks, brings its blobs along, and is the same to readers', async () => {
    const dictionary = await converted.first();
    const plain = await converted.second();
    const { dir, summary } = await convertWith([dictionary.dir]);
    const image = await readImage(dir);
    const withoutNids = (rows: typeof image.rows) => [...rows.values()].map(({ nid: _, ...row }) => row);
    expect(withoutNids(image.rows)).toEqual(withoutNids((await readImage(plain.dir)).rows));

    // 3 pieces of big, the first one of other, and ten small files.
    expect(summary.dictionary).toMatchObject({ chunks: 14, blobs: 2 });
    expect(summary.dictionary.bytes).toBe(2.5 * MiB + MiB + 10 * '10 '.repeat(300).length);
    expect(summary.layers[2]).toMatchObject({ dictionaryChunks: 1, dedupedChunks: 3 });
    const own = summary.layers.reduce((sum, layer) => sum + layer.blobBytes, 0);
    expect(own).toBeLessThan(40_000);

    const theirs = dictionary.summary.layers.map(({ blobDigest }) => blobDigest);
    const ours = summary.layers.flatMap(({ blobDigest }) => blobDigest ?? []);
    const { layers } = image.manifest;
    expect(layers.map(({ digest }) => digest).slice(0, -1)).toEqual([...ours, ...theirs]);
    expect(image.bootstrap.blobs.map(({ id }) => `sha256:${id}`)).toEqual([...ours, ...theirs]);
    expect(image.config.rootfs.diff_ids).toEqual([...ours, ...theirs, image.bootstrapDiffId]);
    const steps = image.config.history as { empty_layer?: boolean }[];
    expect(steps.filter((step) => !step.empty_layer)).toHaveLength(layers.length);
    expect(summary.dictionary.blobBytes).toBe(
      dictionary.summary.layers.reduce((sum, { blobBytes }) => sum + blobBytes, 0),
    );
    expect(summary.dictionary.copiedBytes).toBe(summary.dictionary.blobBytes);
    expect(summary.target.bytes).toBe(
      layers.reduce((sum, { size }) => sum + size, image.manifest.config.size),
    );
  });

  it('copies no blob that the target has', async () => {
    const { dir } = await copyOfFirst();
    const { summary } = await convertWith([dir], { target: dir });
    expect(summary.dictionary).toMatchObject({ blobs: 2, copiedBytes: 0 });
  });

  it('stores nothing of an image that is all in it, and lists only the blobs that are needed', async () => {
    const [own, other] = [await converted.second(), await converted.first()];
    const { dir, summary } = await convertWith([own.dir, other.dir]);
    expect(summary.layers.map(({ blobDigest }) => blobDigest)).toEqual([undefined, undefined, undefined]);
    const image = await readImage(dir);
    const blobs = own.summary.layers.flatMap(({ blobDigest }) => blobDigest ?? []);
    expect(image.manifest.layers.slice(0, -1).map(({ digest }) => digest)).toEqual(blobs);
    expect(image.rows).toEqual((await readImage(own.dir)).rows);
    expect(existsSync(join(dir, 'blobs/sha256', hexOf(other.summary.layers[0]!.blobDigest!)))).toBe(false);
  });

  it('can be a dictionary itself, and one image can have several', async () => {
    const dictionary = await converted.first();
    const middle = await convertWith([dictionary.dir]);
    const last = await convertWith([middle.dir, dictionary.dir]);
    const blobs = (dir: string) =>
      readImage(dir).then(({ bootstrap }) => bootstrap.blobs.map(({ id }) => id));
    expect(new Set(await blobs(last.dir))).toEqual(new Set(await blobs(middle.dir)));
    expect(last.summary.layers.every(({ blobDigest }) => blobDigest === undefined)).toBe(true);
    expect((await readImage(last.dir)).rows).toEqual((await readImage(middle.dir)).rows);
  });

  it.each<[string, ConvertOptions]>([
    ['lz4', { compressor: 'lz4_block' }],
    ['no compression', { compressor: 'none' }],
    ['no batches', { batchSize: 0 }],
  ])('may be one with %s', async (_, made) => {
    const dictionary = await convertLayout(makeLayout(first), made);
    const { dir, summary } = await convertWith([dictionary.dir]);
    expect(summary.dictionary.chunks).toBe(14);
    const plain = await converted.second();
    expect([...(await readImage(dir)).rows.keys()]).toEqual([...(await readImage(plain.dir)).rows.keys()]);
  });

  it.each(['tiny-nydus', 'tiny-batch'])('may be one of nydusify, here %s', async (name) => {
    const golden = new URL(`../../fixtures/golden/oci/${name}`, import.meta.url).pathname;
    const tars = ['tiny1', 'tiny2'].map(goldenTar);
    const dictionaries = [new LayoutSource({ transport: 'oci', path: golden })];
    const { dir, summary } = await convertLayout(makeLayout(tars), {}, { dictionaries });
    // A file that the upper layer replaces is not in the dictionary's bootstrap.
    expect(summary.layers.map(({ chunks }) => chunks)).toEqual([1, 0]);
    expect(summary.dictionary.chunks).toBe(3);
    const plain = await convertLayout(makeLayout(tars));
    expect((await readImage(dir)).rows).toEqual((await readImage(plain.dir)).rows);
  });

  it('gives the same bytes whatever the jobs, and whatever was converted before', async () => {
    const dictionary = await converted.first();
    const cacheDir = `${dictionary.dir}-${++copies}`;
    const target = `${dictionary.dir}-${++copies}`;
    const one = await convertWith([dictionary.dir], { jobs: 1, cacheDir, target });
    const again = await convertWith([dictionary.dir], { jobs: 4, cacheDir, target });
    expect(again.summary.reusedLayers).toBe(second.length);
    expect((await convertWith([dictionary.dir], { jobs: 4 })).summary.target).toEqual(one.summary.target);
    expect(again.summary.target).toEqual(one.summary.target);
    const { copiedBytes: _, ...counted } = one.summary.dictionary;
    expect(again.summary.dictionary).toMatchObject(counted);
    // Half of the layers come from records: what the dictionary gave them is not asked for again.
    rmSync(join(target, 'blobs/sha256', hexOf(one.summary.layers[2]!.blobDigest!)));
    const partly = await convertWith([dictionary.dir], { cacheDir, target });
    expect(partly.summary.layers.map(({ reused }) => reused)).toEqual([true, true, false]);
    expect(partly.summary.target).toEqual(one.summary.target);
    expect(partly.summary.dictionary).toMatchObject(counted);
  });

  it('has records of its own', async () => {
    const dictionary = await converted.first();
    const cacheDir = `${dictionary.dir}-${++copies}`;
    const target = `${dictionary.dir}-${++copies}`;
    const plain = await convertWith([], { cacheDir, target });
    const shared = await convertWith([dictionary.dir], { cacheDir, target });
    expect(shared.summary.reusedLayers).toBe(0);
    const back = await convertWith([], { cacheDir, target });
    expect(back.summary.reusedLayers).toBe(second.length);
    expect(back.summary.target).toEqual(plain.summary.target);
  });
});

/** Replaces the bootstrap of a converted image, digests and all. */
async function rewriteBootstrap(dir: string, change: (bootstrap: Buffer) => void): Promise<void> {
  const path = ({ digest }: Descriptor) => join(dir, 'blobs/sha256', hexOf(digest));
  const source = sourceOf(dir);
  const manifest = parseImageManifest(await source.readManifest(await source.resolve()), 'it');
  const layer = findBootstrapLayer(manifest, 'it');
  const { bootstrap, blobMetas } = await unpackBootstrapLayer(await source.openBlob(layer), 'it');
  change(bootstrap);
  const metas = [...blobMetas].map(([layerHex, bytes]) => ({ layerHex, bytes }));
  const { bytes } = await packBootstrapLayer({ bootstrap, blobMetas: metas });
  const store = (content: Buffer, mediaType: string) => {
    const digest = `sha256:${createHash('sha256').update(content).digest('hex')}`;
    const descriptor = { mediaType, digest, size: content.length };
    writeFileSync(path(descriptor), content);
    return descriptor;
  };
  const layers = [...manifest.layers.slice(0, -1), { ...layer, ...store(bytes, layer.mediaType) }];
  const entry = store(Buffer.from(JSON.stringify({ ...manifest.raw, layers })), OCI_MANIFEST);
  const index = JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8'));
  index.manifests = [{ ...index.manifests[0], ...entry }];
  writeFileSync(join(dir, 'index.json'), JSON.stringify(index));
}

const CHUNK_SIZE_OF_SUPERBLOCK = 1024 + 128 + 20;
const CHUNK_SIZE_OF_BLOB = 68;
const FEATURES_OF_BLOB = 84;

describe('a dictionary', () => {
  const refused = (dir: string) => convertWith([dir]).catch((error: unknown) => error);

  it('with chunks of another size is refused, and the size is named', async () => {
    const { dir } = await convertLayout(makeLayout(first), { chunkSize: 1 << 16 });
    expect(await refused(dir)).toMatchObject({ code: 'USAGE', hint: expect.stringContaining('65536') });
  });

  it('that is an ordinary image, or no image, is refused', async () => {
    const dictionaries = [sourceOf(makeLayout(first), 't')];
    await expect(convertLayout(makeLayout(second), {}, { dictionaries })).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('chunk dictionary'),
    });
    expect(await refused('/nowhere')).toMatchObject({ code: 'NOT_FOUND' });
  });

  it('without files is one that shares nothing', async () => {
    const empty = await convertLayout(makeLayout([makeTar([{ name: 'dir/', type: '5' }])]));
    const { summary } = await convertWith([empty.dir]);
    expect(summary.dictionary).toEqual({ chunks: 0, bytes: 0, blobs: 0, blobBytes: 0, copiedBytes: 0 });
    expect(summary.warnings).toEqual([]);
  });

  it('is verified by the digests of its manifest', async () => {
    const { dir } = await copyOfFirst();
    const source = sourceOf(dir);
    const manifest = parseImageManifest(await source.readManifest(await source.resolve()), 'it');
    const path = join(dir, 'blobs/sha256', hexOf(manifest.layers.at(-1)!.digest));
    const bytes = readFileSync(path);
    bytes[bytes.length - 5]! ^= 1;
    writeFileSync(path, bytes);
    expect(await refused(dir)).toMatchObject({ code: 'DIGEST_MISMATCH' });
  });

  it('without one of its blobs is an error, and leaves nothing at the target', async () => {
    const { dir, summary } = await copyOfFirst();
    rmSync(join(dir, 'blobs/sha256', hexOf(summary.layers[1]!.blobDigest!)));
    const target = join(dirname(dir), 'target-of-this');
    await expect(convertWith([dir], { target })).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(existsSync(target)).toBe(false);
  });

  it('that lies about a chunk is found out where it can be', async () => {
    const { dir } = await copyOfFirst();
    const row = (bootstrap: Buffer, digest: Buffer) => {
      const { offset, size } = readBootstrapTables(bootstrap, 'it').extended.chunkTable;
      const at = bootstrap.subarray(offset, offset + size).indexOf(digest);
      return offset + at;
    };
    const wanted = chunkDigest('blake3', noise('big', 2.5 * MiB).subarray(0, MiB));
    await rewriteBootstrap(dir, (bootstrap) => {
      const at = row(bootstrap, wanted) + 76;
      bootstrap.writeUInt32LE((crc32c(noise('big', MiB)) ^ 1) >>> 0, at);
    });
    expect(await refused(dir)).toMatchObject({
      code: 'DIGEST_MISMATCH',
      message: expect.stringMatching(/chunk 0 of blob [0-9a-f]{64}/),
    });
    await rewriteBootstrap(dir, (bootstrap) => bootstrap.writeUInt32LE(77, row(bootstrap, wanted) + 44));
    expect(await refused(dir)).toMatchObject({
      code: 'MALFORMED',
      message: expect.stringMatching(/chunk table at \d+: chunk 0 of blob/),
    });
  });

  it('with blobs of a special form shares the others, and says so', async () => {
    const { dir, summary } = await copyOfFirst();
    const mark = (which: number[]) =>
      rewriteBootstrap(dir, (bootstrap) => {
        const { offset } = readBootstrapTables(bootstrap, 'it').extended.blobTable;
        for (const i of which) {
          const at = offset + 256 * i + FEATURES_OF_BLOB;
          bootstrap.writeUInt32LE((bootstrap.readUInt32LE(at) | 0x200) >>> 0, at);
        }
      });
    await mark([0]);
    const shared = await convertWith([dir]);
    expect(shared.summary.dictionary).toMatchObject({ chunks: 1, blobs: 1 });
    const [id] = summary.layers.map(({ blobDigest }) => hexOf(blobDigest!));
    expect(shared.summary.warnings).toEqual([
      expect.stringMatching(new RegExp(`blob ${id} is of a special form \\(features 0x200\\)`)),
    ]);
    await mark([1]);
    expect(await refused(dir)).toMatchObject({ code: 'UNSUPPORTED' });
  });

  it('gives no full chunk that lies in a batch, as a file could get two', async () => {
    const files = [0, 1, 2].map((i) => ({ name: `${i}`, data: noise(`${i}`, i < 2 ? 4096 : 4095) }));
    const { dir } = await convertLayout(makeLayout([makeTar(files)]), { chunkSize: 8192 });
    const read = (chunkSize: number) => ChunkDictionary.read([sourceOf(dir)], { ...options, chunkSize });
    const finds = (dictionary: ChunkDictionary) =>
      files.map(({ data }) => {
        const digest = chunkDigest('blake3', data);
        return dictionary.find({ digest, size: data.length, crc: crc32c(data) }) !== undefined;
      });
    expect(finds(await read(8192))).toEqual([true, true, true]);
    await rewriteBootstrap(dir, (bootstrap) => {
      const { offset } = readBootstrapTables(bootstrap, 'it').extended.blobTable;
      for (const at of [CHUNK_SIZE_OF_SUPERBLOCK, offset + CHUNK_SIZE_OF_BLOB])
        bootstrap.writeUInt32LE(4096, at);
    });
    expect(finds(await read(4096))).toEqual([false, false, true]);
  });

  it('that is an index gives the image of the same platform', async () => {
    const both = makeLayout(first, {
      index: (manifest) => [
        { ...manifest, platform: { os: 'linux', architecture: 'amd64' } },
        { ...manifest, platform: { os: 'linux', architecture: 'arm64' } },
      ],
    });
    const { dir } = await convertLayout(both, {}, { platforms: 'all' });
    const manifests = async (platform: string, source: ImageSource = sourceOf(dir)) =>
      (await ChunkDictionary.read([source], { ...options, platform })).manifests;
    expect(await manifests('linux/amd64')).toHaveLength(1);
    await expect(manifests('linux/s390x')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  });
});
