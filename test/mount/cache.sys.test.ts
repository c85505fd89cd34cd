import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, readdir, readFile, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { text } from 'node:stream/consumers';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { CacheListing } from '../../src/mount/api/cache-api.js';
import { mountImage, shutdownDaemon, unmountImage } from '../../src/mount/client/client.js';
import { compareTrees, readTree } from '../support/tree.js';
import { createPlace, readEverything, type TestPlace } from './daemon-process.js';
import { expectedTree } from './golden-tree.js';
import { writeGoldenLayout } from './layouts.js';

const run = promisify(execFile);
const program = resolve(import.meta.dirname, '../../bin/rafter');

let place: TestPlace;
let reference: string;
let blobs: string[];

beforeEach(async () => {
  place = createPlace();
  const layout = join(place.dir, 'layout');
  blobs = await writeGoldenLayout('full', layout);
  reference = `oci:${layout}:latest`;
});
afterEach(() => place.remove());

/** Runs `rafter ARGS... --json` for the directories of the test. */
async function rafter(...args: string[]) {
  const directories = ['--run-dir', place.runDir, '--data-root', place.dataRoot];
  const child = spawn(process.execPath, [program, ...args, '--json', ...directories], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  const [stdout, [code]] = await Promise.all([text(child.stdout), once(child, 'close')]);
  return { code, result: stdout === '' ? undefined : JSON.parse(stdout) };
}

const cache = (...args: string[]) => rafter('cache', ...args);
const list = async () => (await cache('ls')).result as CacheListing;

/** Mounts the image and reads all of it, so that its blobs are complete. */
async function mountAndRead(name: string) {
  const mounted = await mountImage(place, { reference, mountpoint: await place.mountpoint(name) });
  await readEverything(mounted.mountpoint);
  return mounted;
}

it('looks after the cache through the daemon, and alone when none runs', async () => {
  expect((await list()).blobs).toEqual([]);
  const mounted = await mountAndRead('m');
  const during = await list();
  expect(during.blobs).toHaveLength(blobs.length);
  for (const blob of during.blobs)
    expect(blob).toMatchObject({
      damaged: false,
      mounts: 1,
      pinned: false,
      images: [reference],
    });
  expect(during.blobs.every(({ localChunks }) => localChunks > 0)).toBe(true);
  // What is mounted stays.
  expect((await cache('prune', '--all')).result).toMatchObject({ blobs: [], images: [] });
  expect((await cache('pin', reference)).result.blobs).toHaveLength(blobs.length);
  expect((await cache('pin', 'oci:/nowhere:x')).code).toBe(3);
  expect((await cache('verify')).result).toMatchObject({ damaged: 0, damagedBlobs: [] });

  await unmountImage(place, { mountpoint: mounted.mountpoint });
  expect((await cache('prune', '--all')).result.blobs).toEqual([]);
  await shutdownDaemon(place);

  expect(await list()).toMatchObject({ localBytes: during.localBytes });
  expect((await list()).blobs.every(({ pinned, mounts }) => pinned && mounts === 0)).toBe(true);
  expect((await cache('prune')).result.blobs).toEqual([]);
  await cache('unpin', reference);
  // An image that is known is kept by default.
  expect((await cache('prune')).result).toMatchObject({ blobs: [], images: [] });
  const pruned = (await cache('prune', '--max-size', '0')).result;
  expect(pruned.blobs).toHaveLength(blobs.length);
  expect(pruned.images).toEqual([reference]);
  expect((await list()).localBytes).toBe(0);
  expect(await readdir(join(place.dataRoot, 'images/blobs/sha256'))).toEqual([]);
  await mountAndRead('again');
});

it('finds damaged chunks and drops them: the next reader gets the right bytes', async () => {
  const mounted = await mountAndRead('m');
  await unmountImage(place, { mountpoint: mounted.mountpoint });
  const { blobs: cached, dir } = await list();
  const victim = cached.reduce((a, b) => (a.localBytes > b.localBytes ? a : b));
  const path = join(dir, `${victim.name}.data`);
  // Times to the nanosecond, which Node.js cannot set: what was touched since the map was closed counts as unfinished.
  const times = `${path}.times`;
  await run('touch', ['--reference', path, times]);
  const file = await open(path, 'r+');
  const before = await readFile(path);
  try {
    await file.write(Buffer.of(before[0]! ^ 1), 0, 1, 0);
  } finally {
    await file.close();
  }
  await run('touch', ['--reference', times, path]);
  await rm(times);
  const found = await cache('verify');
  expect(found).toMatchObject({ code: 5, result: { damaged: 1, damagedBlobs: [victim.name] } });
  expect((await cache('verify')).result.damaged).toBe(0);
  await mountAndRead('again');
  expect((await readFile(path)).equals(before)).toBe(true);
});

it('keeps the cache of what is mounted below a limit, and every byte right', async () => {
  const mountpoint = await place.mountpoint('m');
  const limit = 2 << 20;
  const mounted = await rafter('mount', reference, mountpoint, '--cache-size', `${limit}`);
  expect(mounted.code).toBe(0);
  for (let round = 0; round < 2; round++) {
    await unmountImage(place, { mountpoint });
    await rafter('mount', reference, mountpoint);
    expect(compareTrees(expectedTree('full'), await readTree(mountpoint))).toEqual([]);
  }
  await vi.waitFor(
    async () => {
      const { result } = await rafter('daemon', 'status');
      expect(result.cache).toMatchObject({ quota: { limit }, stats: { dropped: 0, writeErrors: 0 } });
      expect(result.cache.quota.used).toBeLessThanOrEqual(limit);
      expect(result.cache.stats.evicted).toBeGreaterThan(0);
      expect((await list()).localBytes).toBeLessThanOrEqual(limit);
    },
    { timeout: 20_000, interval: 200 },
  );
});

it('says what is wrong with what it is given', async () => {
  expect((await cache('prune', '--older-than', 'yesterday')).code).toBe(2);
  expect((await cache('prune', '--max-size', '1X')).code).toBe(2);
});
