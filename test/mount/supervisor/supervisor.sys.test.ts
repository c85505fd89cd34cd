import { mkdtempSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import {
  daemonStatus,
  listMounts,
  mountImage,
  shutdownDaemon,
  unmountImage,
} from '../../../src/mount/client/client.js';
import { findMount } from '../../../src/os/mountinfo.js';
import { compareTrees, readTree } from '../../support/tree.js';
import { createPlace, ended, type TestPlace } from '../daemon-process.js';
import { expectedTree } from '../golden-tree.js';
import { writeGoldenLayout } from '../layouts.js';

const directory = mkdtempSync(join(tmpdir(), 'rafter-supervisor-'));
const layout = join(directory, 'layout');
beforeAll(() => writeGoldenLayout('full', layout));
afterAll(() => rm(directory, { recursive: true, force: true }));

let place: TestPlace;
beforeEach(() => {
  place = createPlace({ supervised: true });
});
afterEach(() => place.remove());

const ways = [
  { way: 'erofs', how: { driver: 'erofs' } },
  { way: 'erofs on loop devices', how: { driver: 'erofs', backing: 'loop' } },
  { way: 'fuse', how: { driver: 'fuse' } },
] as const;

async function mountFull(how: (typeof ways)[number]['how'], name = 'm') {
  const mountpoint = await place.mountpoint(name);
  return mountImage(place, { reference: `oci:${layout}:latest`, mountpoint, ...how });
}

/** Kills the daemon that answers, and returns its process id. */
async function killDaemon(): Promise<number> {
  const { pid } = (await daemonStatus(place))!;
  process.kill(pid, 'SIGKILL');
  await ended(pid);
  return pid;
}

it.each(ways)('readers of a mount by $way notice nothing of kills', async ({ how }) => {
  const mounted = await mountFull(how);
  const { supervisorPid } = (await daemonStatus(place))!;
  const killing = (async () => {
    for (let i = 0; i < 4; i++) {
      await killDaemon();
      await sleep(50 * i);
    }
  })();
  for (let round = 0; round < 2; round++)
    expect(compareTrees(expectedTree('full'), await readTree(mounted.mountpoint))).toEqual([]);
  await killing;
  expect(compareTrees(expectedTree('full'), await readTree(mounted.mountpoint))).toEqual([]);
  const [listed] = await listMounts(place);
  expect(listed).toMatchObject({ id: mounted.id, mountpoint: mounted.mountpoint, digest: mounted.digest });
  expect((await daemonStatus(place))!.supervisorPid).toBe(supervisorPid);
  await unmountImage(place, { id: mounted.id });
  expect(await findMount(mounted.mountpoint)).toBeUndefined();
});

it('a daemon that was killed keeps several mounts of both drivers, and makes new ones', async () => {
  const first = await mountFull({ driver: 'erofs' }, 'one');
  const second = await mountFull({ driver: 'fuse' }, 'two');
  await killDaemon();
  const third = await mountFull({ driver: 'erofs' }, 'three');
  await killDaemon();
  for (const { mountpoint } of [first, second, third])
    expect(compareTrees(expectedTree('full'), await readTree(mountpoint))).toEqual([]);
  expect((await listMounts(place)).map(({ id }) => id).sort()).toEqual(
    [first.id, second.id, third.id].sort(),
  );
});

it('ends with its daemon on request, and leaves nothing', async () => {
  const mounted = await mountFull({ driver: 'erofs' });
  const { pid, supervisorPid } = (await daemonStatus(place))!;
  expect(await shutdownDaemon(place)).toBe(true);
  expect(await ended(pid)).toBe(true);
  expect(await ended(supervisorPid!)).toBe(true);
  expect(await findMount(mounted.mountpoint)).toBeUndefined();
  expect(await findMount(join(place.runDir, 'blobs'))).toBeUndefined();
  expect(await daemonStatus(place)).toBeUndefined();
});

it('passes SIGTERM on: everything is unmounted', async () => {
  const mounted = await mountFull({ driver: 'fuse' });
  const { pid, supervisorPid } = (await daemonStatus(place))!;
  process.kill(supervisorPid!, 'SIGTERM');
  expect(await ended(supervisorPid!)).toBe(true);
  expect(await ended(pid)).toBe(true);
  expect(await findMount(mounted.mountpoint)).toBeUndefined();
});
