import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { convertImage } from '../../src/convert/convert.js';
import { parseImageConfig } from '../../src/image/config.js';
import type { Descriptor } from '../../src/image/descriptor.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { type Index, type Manifest, parseManifest } from '../../src/image/manifest.js';
import { NYDUS_BLOB, NYDUS_BLOB_LAYER } from '../../src/image/media-types.js';
import { findStartupLayer } from '../../src/image/startup-layer.js';
import { checkImage } from '../../src/inspect/check-image.js';
import { describe as describeImage, type ImageDescription } from '../../src/inspect/describe.js';
import { openImage } from '../../src/inspect/open-image.js';
import { readStartupRanges } from '../../src/inspect/startup-ranges.js';
import { type OptimizeRequest, optimizeImage } from '../../src/optimize/optimize.js';
import { openPack } from '../../src/startup/read-pack.js';
import type { Touch, Trace } from '../../src/trace/trace.js';
import { writeIndexLayout } from '../support/layout-image.js';

const PAGE = 4096;
const platform = 'linux/amd64';
let dir: string;
let layout: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-optimize-'));
  layout = join(dir, 'images');
  await writeIndexLayout(layout, 'ordinary', 300_000);
  const convert = (tag: string, platforms: string[] | 'all') =>
    convertImage({ source: from('ordinary'), target: to(tag), sourceReference: `oci:${layout}`, platforms });
  await convert('one', [platform]);
  await convert('all', 'all');
});
afterAll(() => rm(dir, { recursive: true }));

const from = (tag: string) => new LayoutSource({ transport: 'oci', path: layout, tag });
const to = (tag: string) => new LayoutTarget({ transport: 'oci', path: layout, tag });

const touch = (blob: number, page: number, pages: number): Touch => ({
  blob,
  offset: page * PAGE,
  length: pages * PAGE,
  atMs: 1,
  waitedMs: 0,
  from: 'fetch',
});

/** A trace of the image `tag`. */
async function traceOf(tag: string, touches: Touch[]): Promise<Trace> {
  const image = await openImage(from(tag), { platform });
  return {
    reference: `oci:${layout}:${tag}`,
    manifest: image.descriptor.digest,
    blobs: image.bootstrap.blobs.map(({ id }) => id),
    driver: 'erofs',
    startedAt: '2026-01-02T03:04:05.678Z',
    touches,
  };
}

const touches = [touch(0, 20, 3), touch(1, 0, 1), touch(0, 2, 1), touch(0, 0, 1)];

function optimize(change: Partial<OptimizeRequest> & Pick<OptimizeRequest, 'source' | 'target' | 'traces'>) {
  return optimizeImage({ platform, tempDir: join(dir, 'tmp'), ...change });
}

async function readParsed(tag: string, descriptor?: Descriptor): Promise<Manifest | Index> {
  const source = from(tag);
  return parseManifest(await source.readManifest(descriptor ?? (await source.resolve())), tag);
}

async function readPieces(tag: string) {
  const source = from(tag);
  const manifest = (await readParsed(tag)) as Manifest;
  const layer = findStartupLayer(manifest, tag)!;
  const stream = await source.openBlob(layer.descriptor);
  const { table, units } = await openPack(stream, { ...layer, name: tag, size: layer.descriptor.size });
  const decoded: Buffer[] = [];
  for await (const unit of units) decoded.push(Buffer.from(unit));
  const all = Buffer.concat(decoded);
  return table.pieces.map(({ blob, offset, length, position }) => ({
    id: table.blobs[blob]!,
    offset,
    bytes: all.subarray(position, position + length),
  }));
}

describe('one image', () => {
  it('gets what was touched as a layer of its own, in order, gaps of a few pages filled', async () => {
    const trace = await traceOf('one', touches);
    const summary = await optimize({ source: from('one'), target: to('fast'), traces: [trace] });
    expect(summary).toMatchObject({ touchedBytes: 6 * PAGE, pack: { pieces: 4 } });
    expect(summary.chunkBytes).toBeGreaterThan(250_000);
    const pieces = await readPieces('fast');
    expect(pieces.map(({ id, offset, bytes }) => [trace.blobs.indexOf(id), offset, bytes.length])).toEqual([
      [0, 20 * PAGE, 3 * PAGE],
      [1, 0, PAGE],
      [0, PAGE, 2 * PAGE],
      [0, 0, PAGE],
    ]);
    expect(pieces[1]!.bytes.toString()).toMatch(/^for amd64\0+$/);
    const pages = (from: number, to: number) => ({ start: from * PAGE, end: to * PAGE });
    expect((await readStartupRanges(await openImage(from('fast'), { platform })))?.slice(0, 2)).toEqual([
      [pages(0, 1), pages(1, 3), pages(20, 23)],
      [pages(0, 1)],
    ]);
    expect(await readStartupRanges(await openImage(from('one'), { platform }))).toBeUndefined();
    expect(await readdir(join(dir, 'tmp'))).toEqual([]);
  });

  it('stays as it was but for that layer, its diff id and its history', async () => {
    const before = (await readParsed('one')) as Manifest;
    const after = (await readParsed('fast')) as Manifest;
    const pack = after.layers.at(-2)!;
    expect(pack).toMatchObject({ mediaType: NYDUS_BLOB_LAYER, annotations: { [NYDUS_BLOB]: 'true' } });
    const { nydus } = (await describeImage(from('fast'), { platform })) as ImageDescription;
    expect(nydus?.startupPack).toEqual({ digest: pack.digest, size: pack.size });
    expect(after.layers.toSpliced(-2, 1)).toEqual(before.layers);
    expect(after.annotations).toEqual(before.annotations);
    const configOf = async ({ config }: Manifest) =>
      parseImageConfig(await buffer(await from('one').openBlob(config)), 'config');
    const [old, made] = [await configOf(before), await configOf(after)];
    expect(made.diffIds).toEqual(old.diffIds.toSpliced(-1, 0, pack.digest));
    expect(made.history.toSpliced(-2, 1)).toEqual(old.history);
    expect(made.history.filter(({ empty_layer: empty }) => !empty)).toHaveLength(after.layers.length);
    expect((await checkImage(from('fast'), { platform, original: from('ordinary') })).faults).toEqual([]);
  });

  it('the same traces give the same image, in whatever order; another pack takes the place of the first', async () => {
    const [first, second] = [await traceOf('one', touches), await traceOf('one', [touch(0, 40, 1)])];
    const a = await optimize({ source: from('one'), target: to('a'), traces: [first, second] });
    const b = await optimize({ source: from('fast'), target: to('fast'), traces: [second, first] });
    expect(b.digest).toBe(a.digest);
    expect((await readPieces('fast')).length).toBe(5);
  });

  it.each<[string, (trace: Trace) => Trace, string]>([
    [
      'traces of another image',
      (trace) => ({ ...trace, blobs: trace.blobs.toReversed() }),
      'of another image',
    ],
    ['traces of nothing', (trace) => ({ ...trace, touches: [] }), 'nothing was read'],
  ])('%s are refused, and nothing is left', async (_, change, message) => {
    const traces = [change(await traceOf('one', touches))];
    const refused = optimize({ source: from('one'), target: to('refused'), traces });
    await expect(refused).rejects.toMatchObject({ code: 'USAGE', message: expect.stringContaining(message) });
    await expect(from('refused').resolve()).rejects.toMatchObject({ code: 'NOT_FOUND' });
    expect(await readdir(join(dir, 'tmp'))).toEqual([]);
  });
});

it('of an index the manifest of the platform is replaced', async () => {
  const traces = [await traceOf('all', touches)];
  const summary = await optimize({ source: from('all'), target: to('all-fast'), traces });
  const before = (await readParsed('all')) as Index;
  const after = (await readParsed('all-fast')) as Index;
  expect((await from('all-fast').resolve()).digest).toBe(summary.digest);
  const [amd64, arm64] = after.manifests;
  expect(arm64).toEqual(before.manifests[1]);
  expect(amd64).toEqual({ ...before.manifests[0], digest: summary.manifest, size: amd64!.size });
  expect(findStartupLayer((await readParsed('all-fast', amd64)) as Manifest, 'amd64')).toBeDefined();
  expect((await checkImage(from('all-fast'), { platform: 'linux/arm64' })).faults).toEqual([]);
});
