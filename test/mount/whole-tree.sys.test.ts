import { randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { convertImage } from '../../src/convert/convert.js';
import { parseReference } from '../../src/image/reference.js';
import { openImage } from '../../src/inspect/open-image.js';
import type { MountInfo, MountRequest } from '../../src/mount/api/api.js';
import { listMounts, mountImage, unmountImage } from '../../src/mount/client/client.js';
import { optimizeImage } from '../../src/optimize/optimize.js';
import { openSource, openTarget } from '../../src/transports/open.js';
import { makeLayout } from '../convert/layouts.js';
import { makeTar } from '../convert/tar-writer.js';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.js';
import { canCountPages, forgetPages, pagesHeld } from '../support/page-cache.js';
import { createPlace, readEverything, type TestPlace } from './daemon-process.js';

const MIB = 1 << 20;
const SMALL = 200;
/** Names of all files of the image. */
const FILES = 2 * SMALL + 6;
const platform = 'linux/amd64';

let registry: FakeRegistry;
let place: TestPlace;
let dir: string;

/** Layers of small files that share units, of large ones, of both, and of what another layer has too. */
function layers(): Buffer[] {
  const shared = randomBytes(2 * MIB);
  const small = (layer: number) =>
    Array.from({ length: SMALL }, (_, i) => ({
      name: `layer${layer}/dir${i % 9}/file${i}`,
      data: `file ${i} of layer ${layer} `.repeat(50 + i * 5) + randomBytes(200).toString('hex'),
    }));
  const large = (layer: number, count: number) =>
    Array.from({ length: count }, (_, i) => ({
      name: `layer${layer}/large${i}`,
      data: randomBytes(3 * MIB + i),
    }));
  return [
    makeTar([...small(0), { name: 'layer0/shared', data: shared }]),
    makeTar(large(1, 3)),
    makeTar([...small(2), ...large(2, 1), { name: 'layer2/shared', data: shared }]),
  ];
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-whole-'));
  registry = await startFakeRegistry();
  const layout = makeLayout(layers().map((tar) => ({ tar, compression: 'none' })));
  await convertImage({
    source: openSource(parseReference(`oci:${layout}:t`)),
    target: openTarget(parseReference(`${registry.host}/app:plain`)),
    sourceReference: 'oci:some',
    platforms: [platform],
    options: { prefetch: ['/layer0/dir3', '/layer2'] },
  });
  await optimize();
});
afterAll(async () => {
  await registry?.stop();
  await rm(dir, { recursive: true });
});
beforeEach(() => {
  place = createPlace();
});
afterEach(() => place.remove());

/** The image's objects, and how many stored units its data consists of: what is compressed, and so fetched, as one. */
async function described(tag: string) {
  const source = openSource(parseReference(`${registry.host}/app:${tag}`));
  try {
    const image = await openImage(source, { platform });
    let units = 0;
    for (const index of image.bootstrap.blobs.keys()) {
      const { chunk, chunkCount } = await image.layout(index);
      units += new Set(Array.from({ length: chunkCount }, (_, i) => chunk(i).storedOffset)).size;
    }
    const { manifest, descriptor, bootstrap } = image;
    const objects = [...manifest.layers, manifest.config];
    return { units, objects, manifest: descriptor.digest, blobs: bootstrap.blobs.map(({ id }) => id) };
  } finally {
    await source.close();
  }
}

/** Stores the image `fast`, which has a start-up pack of the first layer. */
async function optimize(): Promise<void> {
  const { blobs, manifest } = await described('plain');
  const touch = { blob: 0, offset: 0, length: 3 * MIB, atMs: 0, waitedMs: 0, from: 'fetch' as const };
  const header = { reference: 'some', manifest, blobs, driver: 'erofs' as const };
  await optimizeImage({
    source: openSource(parseReference(`${registry.host}/app:plain`)),
    target: openTarget(parseReference(`${registry.host}/app:fast`)),
    platform,
    traces: [{ ...header, startedAt: '2026-01-02T03:04:05.678Z', touches: [touch] }],
    tempDir: join(dir, 'tmp'),
  });
}

/** What was asked for of blobs since the list was emptied, in stored bytes. */
function asked(): Map<string, { from: number; to: number }[]> {
  const found = new Map<string, { from: number; to: number }[]>();
  for (const { method, url, headers } of registry.requests) {
    const [digest] = /sha256:[0-9a-f]{64}$/.exec(url) ?? [];
    if (method !== 'GET' || digest === undefined || !url.includes('/blobs/')) continue;
    const [, from, to] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
    const size = registry.blobs.get(digest)!.length;
    const range = from === undefined ? { from: 0, to: size } : { from: Number(from), to: Number(to) + 1 };
    found.set(digest, [...(found.get(digest) ?? []), range]);
  }
  return found;
}

/** Bytes that were asked for more than once. */
function overlap(ranges: { from: number; to: number }[]): number {
  let [end, twice] = [0, 0];
  for (const { from, to } of ranges.toSorted((a, b) => a.from - b.from)) {
    twice += Math.max(0, Math.min(end, to) - from);
    end = Math.max(end, to);
  }
  return twice;
}

/** Pages that the kernel holds of the files below `dir`. */
async function pagesBelow(dir: string): Promise<number> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries.filter((one) => one.isFile()).map(({ parentPath, name }) => join(parentPath, name));
  return files.reduce((sum, file) => sum + pagesHeld(file), 0);
}

/**
 * All of the image that `mount` mounts was just read through the daemon. Memory holds that once, in the files of the mount; and so it
 * does when the image is mounted again and the kernel reads the cache's own files.
 */
async function expectPagesHeldOnce(
  { id, mountpoint }: MountInfo,
  mount: () => Promise<MountInfo>,
): Promise<void> {
  const served = (mountId: string) =>
    [0, 1, 2].map((blob) => join(place.runDir, 'blobs', `${mountId}.${blob}`));
  // All files together; a few pages more or less are there at times.
  const least = (14 * MIB) / 4096;
  expect(await pagesBelow(mountpoint)).toBeGreaterThan(least);
  expect(served(id).map(pagesHeld)).toEqual([0, 0, 0]);
  await vi.waitFor(async () => {
    const [{ data }] = (await listMounts(place)) as [MountInfo];
    expect(data!.localBytes).toBe(data!.bytes);
  }, 10_000);
  await unmountImage(place, { id });
  const names = (await readdir(join(place.dataRoot, 'cache'))).filter((name) => name.endsWith('.data'));
  const cached = names.map((name) => join(place.dataRoot, 'cache', name));
  for (const file of cached) forgetPages(file);
  const again = await mount();
  expect(served(again.id).filter(existsSync)).toEqual([]);
  await readEverything(mountpoint);
  expect(await pagesBelow(mountpoint)).toBeGreaterThan(least);
  expect(cached.map(pagesHeld)).toEqual([0, 0, 0]);
}

it.each([
  { tag: 'plain', driver: 'erofs', pages: canCountPages },
  { tag: 'plain', driver: 'erofs', backing: 'loop', pages: canCountPages },
  { tag: 'plain', driver: 'fuse' },
  { tag: 'plain', driver: 'erofs', prefetch: false },
  { tag: 'plain', driver: 'erofs', complete: 'always' },
  { tag: 'fast', driver: 'erofs' },
] as const)(
  'reading all of an image takes no byte twice and no more requests than it has units: %o',
  async ({ tag, pages = false, ...how }: { tag: string; pages?: boolean } & Partial<MountRequest>) => {
    const { units, objects } = await described(tag);
    expect(units).toBeLessThan(FILES / 10);
    registry.requests.length = 0;
    const mountpoint = await place.mountpoint('m');
    const reference = `${registry.host}/app:${tag}`;
    const mount = () => mountImage(place, { reference, platform, access: {}, mountpoint, ...how });
    const mounted = await mount();
    await readEverything(mountpoint);
    const ranges = asked();
    for (const [digest, each] of ranges) expect(overlap(each), digest).toBe(0);
    const all = [...ranges.values()].flat();
    const bytes = all.reduce((sum, { from, to }) => sum + to - from, 0);
    expect(bytes).toBeLessThanOrEqual(objects.reduce((sum, { size }) => sum + size, 0));
    // Each unit of the data, and the configuration, the bootstrap and the start-up pack.
    expect(all.length).toBeLessThanOrEqual(units + 3);
    if (pages) await expectPagesHeldOnce(mounted, mount);
  },
);
