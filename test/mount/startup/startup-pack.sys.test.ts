import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { hexOf } from '../../../src/image/descriptor.js';
import { parseReference } from '../../../src/image/reference.js';
import { openImage } from '../../../src/inspect/open-image.js';
import { daemonStatus, listMounts, mountImage, unmountImage } from '../../../src/mount/client/client.js';
import { optimizeImage } from '../../../src/optimize/optimize.js';
import type { Trace } from '../../../src/trace/trace.js';
import { openSource, openTarget } from '../../../src/transports/open.js';
import { missingPrograms } from '../../support/programs.js';
import { startRegistry, type TestRegistry } from '../../support/registry-server.js';
import { compareTrees, readTree } from '../../support/tree.js';
import { createPlace, type TestPlace } from '../daemon-process.js';
import { expectedTree } from '../golden-tree.js';
import { writeGoldenLayout } from '../layouts.js';

const missing = missingPrograms('docker-registry');
let layoutDir: string;
let registry: TestRegistry;
let place: TestPlace;
/** Digests of the packs. */
let whole: string;
let part: string;

beforeAll(async () => {
  if (missing) return;
  layoutDir = await mkdtemp(join(tmpdir(), 'rafter-layout-'));
  await writeGoldenLayout('small', layoutDir);
  registry = await startRegistry();
  whole = await optimize(`${registry.host}/small:whole`, 1);
  part = await optimize(`${registry.host}/small:part`, 3);
  await optimize(`oci:${layoutDir}:whole`, 1);
});
afterAll(async () => {
  await registry?.stop();
  if (layoutDir) await rm(layoutDir, { recursive: true });
});
beforeEach((ctx) => {
  if (missing) ctx.skip(missing);
  registry.requests.length = 0;
});
afterEach(async () => {
  await place?.remove();
});

/** Puts an image at `target` whose pack has every page of every `step`-th stretch of 64 KiB. Its pack's digest. */
async function optimize(target: string, step: number): Promise<string> {
  const source = openSource(parseReference(`oci:${layoutDir}:latest`));
  const { bootstrap, descriptor } = await openImage(source);
  const stretch = 64 << 10;
  const touches = bootstrap.blobs.flatMap(({ uncompressedSize: size }, blob) => {
    const starts = Array.from({ length: Math.ceil(size / stretch) }, (_, i) => i * stretch);
    return starts
      .filter((_, i) => i % step === 0)
      .map((offset) => ({ blob, offset, length: Math.min(stretch, size - offset) }));
  });
  const trace: Trace = {
    reference: source.name,
    manifest: descriptor.digest,
    blobs: bootstrap.blobs.map(({ id }) => id),
    driver: 'erofs',
    startedAt: '2026-01-02T03:04:05.678Z',
    touches: touches.map((touch) => ({ ...touch, atMs: 0, waitedMs: 0, from: 'local' })),
  };
  const made = await optimizeImage({
    source,
    target: openTarget(parseReference(target)),
    traces: [trace],
    tempDir: join(layoutDir, 'tmp'),
  });
  return made.pack.digest;
}

const mount = async (reference: string, driver?: 'erofs' | 'fuse') =>
  mountImage(place, {
    reference,
    mountpoint: await place.mountpoint('m'),
    access: {},
    ...(driver && { driver }),
  });
const expectAll = async (mountpoint: string) =>
  expect(compareTrees(expectedTree('small'), await readTree(mountpoint))).toEqual([]);
const ranged = () => registry.requests.filter(({ range }) => range !== undefined);
const log = () => readFile(join(place.runDir, 'daemon.log'), 'utf8');

describe.each(['erofs', 'fuse'] as const)('driver %s', (driver) => {
  beforeEach(() => {
    place = createPlace();
  });

  it('serves everything from one request for the pack, and later without any', async () => {
    const reference = `${registry.host}/small:whole`;
    const first = await mount(reference, driver);
    const atMount = ranged().length;
    await expectAll(first.mountpoint);
    expect(ranged().length).toBe(atMount);
    const ofPack = registry.requests.filter(({ path }) => path.includes(hexOf(whole)));
    expect(ofPack).toMatchObject([{ method: 'GET', range: undefined }]);
    const [{ stats }] = (await listMounts(place)) as [Awaited<ReturnType<typeof listMounts>>[number]];
    expect(stats).toMatchObject({ requests: 1, fetchedBytes: ofPack[0]!.bytes });
    await unmountImage(place, { id: first.id });
    await registry.pause();
    try {
      await expectAll((await mount(reference, driver)).mountpoint);
    } finally {
      await registry.resume();
    }
  });

  it('fetches chunks for what the pack does not have', async () => {
    const { mountpoint, id } = await mount(`${registry.host}/small:part`, driver);
    await expectAll(mountpoint);
    expect(registry.requests.filter(({ path }) => path.includes(hexOf(part)))).toHaveLength(1);
    await unmountImage(place, { id });
    // Every chunk is here now: the pack is not needed any more.
    registry.requests.length = 0;
    await expectAll((await mount(`${registry.host}/small:part`, driver)).mountpoint);
    expect(registry.requests.filter(({ path }) => path.includes('/blobs/'))).toEqual([]);
  });
});

it.each<[string, (good: Buffer) => Buffer | undefined, RegExp]>([
  [
    'damaged',
    (good) => Buffer.from(good).fill(1, good.length - 10),
    /is damaged.*without all of its start-up pack/,
  ],
  ['cut', (good) => good.subarray(0, -100), /bytes.*without all of its start-up pack/],
  ['gone', () => undefined, /missing.*without all of its start-up pack/],
])('a pack that is %s costs nothing but a warning', async (_, change, expected) => {
  place = createPlace();
  const source = openSource(parseReference(`oci:${layoutDir}:whole`));
  const { manifest } = await openImage(source);
  const path = join(layoutDir, 'blobs/sha256', hexOf(manifest.layers.at(-2)!.digest));
  const good = await readFile(path);
  const bytes = change(good);
  if (bytes === undefined) await rm(path);
  else await writeFile(path, bytes);
  try {
    const { mountpoint } = await mount(`oci:${layoutDir}:whole`);
    await expectAll(mountpoint);
    await vi.waitFor(async () => expect(await log()).toMatch(expected), 20_000);
  } finally {
    await writeFile(path, good);
  }
});

it('a daemon that is killed while the pack arrives loses nothing', async () => {
  place = createPlace({ supervised: true });
  const { mountpoint } = await mount(`${registry.host}/small:whole`);
  const reading = readTree(mountpoint);
  process.kill((await daemonStatus(place))!.pid, 'SIGKILL');
  expect(compareTrees(expectedTree('small'), await reading)).toEqual([]);
  await expectAll(mountpoint);
});
