import { mkdtempSync } from 'node:fs';
import { mkdir, rm, statfs, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { daemonStatus, mountImage } from '../../src/mount/client/client.js';
import { mount, unmount } from '../../src/os/mount.js';
import { compareTrees, readTree } from '../support/tree.js';
import { createPlace, type TestPlace } from './daemon-process.js';
import { expectedTree } from './golden-tree.js';
import { writeGoldenLayout } from './layouts.js';

let place: TestPlace;
let layout: string;

beforeEach(async (ctx) => {
  if (process.geteuid?.() !== 0) ctx.skip('mounting a tmpfs needs root');
  layout = mkdtempSync(join(tmpdir(), 'rafter-layout-'));
  await writeGoldenLayout('full', layout);
  place = createPlace();
  await mkdir(place.dataRoot);
  mount({ source: 'rafter-test', target: place.dataRoot, type: 'tmpfs', data: 'size=64m,mode=700' });
});
afterEach(async () => {
  if (!place) return;
  unmount(place.dataRoot, { detach: true });
  await place.remove();
  await rm(layout, { recursive: true });
});

it('on a full disk everything is read right, the status says so, and goes on when there is room again', async () => {
  const reference = `oci:${layout}:latest`;
  const mounted = await mountImage(place, { reference, mountpoint: await place.mountpoint('m') });
  const filler = join(place.dataRoot, 'filler');
  const { bavail, bsize } = await statfs(place.dataRoot);
  await writeFile(filler, Buffer.alloc(bavail * bsize));
  const wrong = async () => compareTrees(expectedTree('full'), await readTree(mounted.mountpoint));
  expect(await wrong()).toEqual([]);
  const full = (await daemonStatus(place))!.cache;
  expect(full.problem).toMatch(/ENOSPC/);
  expect(full.stats.writeErrors).toBeGreaterThan(0);
  await rm(filler);
  // Pages that the kernel has are not asked for again.
  await writeFile('/proc/sys/vm/drop_caches', '3');
  expect(await wrong()).toEqual([]);
  const free = (await daemonStatus(place))!.cache;
  expect(free.problem).toBeUndefined();
  expect(free.stats.storedBytes).toBeGreaterThan(full.stats.storedBytes);
});
