import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import type { ConvertOptions } from '../../src/convert/options.js';
import { hexOf } from '../../src/image/descriptor.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { convertLayout, goldenTar, makeLayout } from './layouts.js';
import { readImage } from './read-image.js';
import { makeTar } from './tar-writer.js';

// Conversions start threads, which takes its time on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 });

const noise = (seed: string, size: number) =>
  createHash('shake256', { outputLength: size }).update(seed).digest();

/** Layers that share content with each other, within and across, with batches, whiteouts and links. */
const shared = [
  makeTar([
    { name: 'big', data: noise('big', 2_500_000) },
    ...Array.from({ length: 30 }, (_, i) => ({ name: `small${i}`, data: `${i} `.repeat(300) })),
    { name: 'link', type: '1', link: 'big' },
    { name: 'twice', data: 'first' },
    { name: 'twice', data: 'second' },
  ]),
  makeTar([{ name: 'dir/', type: '5' }, { name: '.wh.small3' }]),
  makeTar([
    { name: 'again', data: noise('big', 2_500_000) },
    { name: 'new', data: noise('new', 5000) },
    { name: 'upper-link', type: '1', link: 'small4' },
  ]),
  makeTar([
    { name: 'third', data: noise('new', 5000) },
    { name: 'own', data: noise('own', 10) },
  ]),
];

/** A source with everything that a conversion with records needs, in directories of its own. */
function prepare(layers: Buffer[] = shared) {
  const source = makeLayout(layers);
  const root = dirname(source);
  const cacheDir = join(root, 'records');
  const convert = (to: string, options: ConvertOptions & { sourceDir?: string } = {}) => {
    const { sourceDir = source, ...rest } = options;
    const target = new LayoutTarget({ transport: 'oci', path: join(root, to), tag: 'out' });
    return convertLayout(sourceDir, rest, { target, cacheDir });
  };
  const records = () =>
    readdirSync(cacheDir)
      .filter((name) => name !== 'blobs')
      .map((name) => join(cacheDir, name));
  const kept = () => readdirSync(join(cacheDir, 'blobs'));
  return { source, root, cacheDir, convert, records, kept };
}
const reused = ({ summary }: Awaited<ReturnType<typeof convertLayout>>) =>
  summary.layers.map((layer) => layer.reused);
/** What the summary says of the layers without what depends on the time. */
const facts = ({ summary }: Awaited<ReturnType<typeof convertLayout>>) =>
  summary.layers.map(({ seconds: _, reused: __, ...rest }) => rest);

describe('a layer that was converted before', () => {
  it.each<[string, Buffer[]]>([
    ['that share content', shared],
    ['full of odd cases', ['full1', 'full2', 'full3'].map(goldenTar)],
  ])('is not read again, and the image of layers %s is the same', async (_, layers) => {
    const { source, root, convert } = prepare(layers);
    const first = await convert('target');
    expect(reused(first)).toEqual(layers.map(() => false));
    const plain = await convertLayout(source);
    expect(first.summary.target).toEqual(plain.summary.target);
    for (const layer of first.summary.layers) {
      rmSync(join(source, 'blobs/sha256', hexOf(layer.sourceDigest)));
    }
    const again = await convert('target');
    expect(reused(again)).toEqual(layers.map(() => true));
    expect(again.summary.reusedLayers).toBe(layers.length);
    expect(again.summary.target).toEqual(plain.summary.target);
    expect(facts(again)).toEqual(facts(plain));
    expect(again.summary.warnings).toEqual(plain.summary.warnings);
    const rows = (await readImage(join(root, 'target'))).rows;
    expect(rows).toEqual((await readImage(plain.dir)).rows);
  });

  it.each(shared.map((_, i) => i))('may lie among others, here all but layer %i', async (missing) => {
    const { root, convert, source } = prepare();
    const first = await convert('target');
    const digest = first.summary.layers[missing]!.blobDigest;
    if (digest === undefined) return;
    rmSync(join(root, 'target/blobs/sha256', hexOf(digest)));
    const again = await convert('target');
    expect(reused(again)).toEqual(shared.map((_, i) => i !== missing));
    expect(again.summary.target).toEqual(first.summary.target);
    expect((await readImage(join(root, 'target'))).rows).toEqual(
      (await readImage((await convertLayout(source)).dir)).rows,
    );
  });

  it('counts below new layers of another image', async () => {
    const { convert } = prepare();
    await convert('target');
    const upper = makeTar([
      { name: 'big-again', data: noise('big', 2_500_000) },
      { name: 'fresh', data: noise('fresh', 3000) },
    ]);
    const sourceDir = makeLayout([...shared.slice(0, 3), upper]);
    const other = await convert('target', { sourceDir });
    expect(reused(other)).toEqual([true, true, true, false]);
    expect(other.summary.target).toEqual((await convertLayout(sourceDir)).summary.target);
  });

  it('is converted again over other layers, with other options, and for a target without its blob', async () => {
    const { convert } = prepare();
    await convert('target');
    const sourceDir = makeLayout([shared[1]!, shared[0]!]);
    expect(reused(await convert('target', { sourceDir }))).toEqual([false, false]);
    for (const options of [
      { chunkSize: 1 << 16 },
      { batchSize: 0 },
      { level: 4 },
      { compressor: 'none' },
      { lossy: true },
    ]) {
      const converted = await convert('target', options as ConvertOptions);
      expect(reused(converted), JSON.stringify(options)).not.toContain(true);
    }
    // The second layer has no blob.
    expect(reused(await convert('elsewhere'))).toEqual([false, true, false, false]);
    expect(reused(await convert('target', { jobs: 1, prefetch: ['/big'] }))).not.toContain(false);
  });
});

describe('records', () => {
  it('that are damaged or cannot be written cost time and nothing else', async () => {
    const { cacheDir, convert, records } = prepare();
    const first = await convert('target');
    for (const [i, path] of records().entries()) {
      const bytes = readFileSync(path);
      if (i % 2 === 0) bytes[bytes.length - 20]! ^= 1;
      writeFileSync(path, i % 2 === 0 ? bytes : bytes.subarray(0, bytes.length / 2));
    }
    const again = await convert('target');
    expect(reused(again)).not.toContain(true);
    expect(again.summary.target).toEqual(first.summary.target);
    expect(reused(await convert('target'))).not.toContain(false);
    rmSync(cacheDir, { recursive: true });
    writeFileSync(cacheDir, 'a file where the directory should be');
    const without = await convert('target');
    expect(reused(without)).not.toContain(true);
    expect(without.summary.target).toEqual(first.summary.target);
  });

  it('are there for every layer that was finished before an interruption, with its blob', async () => {
    const { source, root, cacheDir, convert, kept } = prepare();
    const whole = await convertLayout(source);
    const stop = new AbortController();
    const target = new LayoutTarget({ transport: 'oci', path: join(root, 'target'), tag: 'out' });
    const interrupted = convertLayout(
      source,
      { signal: stop.signal },
      {
        target,
        cacheDir,
        onProgress: ({ kind, label }) => kind === 'finished' && label === 'layer 3 of 4' && stop.abort(),
      },
    );
    await expect(interrupted).rejects.toMatchObject({
      code: 'INTERRUPTED',
      hint: expect.stringContaining('the same command'),
    });
    expect(readdirSync(root).sort()).toEqual(['records', 'source']);
    // The second layer has no blob.
    const blobs = [0, 2].map((i) => hexOf(whole.summary.layers[i]!.blobDigest!));
    expect(kept().sort()).toEqual(blobs.sort());
    const again = await convert('target');
    expect(reused(again)).toEqual([true, true, true, false]);
    expect(again.summary.target).toEqual(whole.summary.target);
    expect(kept()).toEqual([]);
    expect((await readImage(join(root, 'target'))).rows).toEqual((await readImage(whole.dir)).rows);
  });

  it('go without their blobs where no cache is wanted', async () => {
    const { source, root } = prepare();
    const stop = new AbortController();
    const target = new LayoutTarget({ transport: 'oci', path: join(root, 'target'), tag: 'out' });
    const onProgress = () => stop.abort();
    await expect(
      convertLayout(source, { signal: stop.signal }, { target, onProgress }),
    ).rejects.toMatchObject({ code: 'INTERRUPTED', hint: undefined });
    expect(readdirSync(root)).toEqual(['source']);
  });

  it('leave no temporary files', async () => {
    const { convert, records } = prepare();
    await convert('target');
    expect(records().every((path) => /\/[0-9a-f]{64}$/.test(path))).toBe(true);
    expect(statSync(records()[0]!).mode & 0o777).toBe(0o600);
  });

  it('are used by a conversion of several platforms, too', async () => {
    const platform = (architecture: string) => ({ platform: { os: 'linux', architecture } });
    const source = makeLayout(shared, {
      index: (m) => [
        { ...m, ...platform('amd64') },
        { ...m, ...platform('386') },
      ],
    });
    const cacheDir = join(dirname(source), 'records');
    const path = join(dirname(source), 'target');
    const convert = async () => {
      const target = new LayoutTarget({ transport: 'oci', path, tag: 'out' });
      return convertLayout(source, {}, { target, cacheDir, platforms: 'all' });
    };
    const first = await convert();
    const again = await convert();
    expect(again.summary.reusedLayers).toBe(shared.length);
    expect(again.summary.target).toEqual(first.summary.target);
    const reader = new LayoutSource({ transport: 'oci', path, tag: 'out' });
    expect((await reader.resolve()).digest).toBe(first.summary.target.digest);
  });
});
