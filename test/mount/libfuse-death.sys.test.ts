import { existsSync, readFileSync } from 'node:fs';
import { open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { MountRequest } from '../../src/mount/api/api.js';
import { daemonStatus, listMounts, mountImage } from '../../src/mount/client/client.js';
import { readMounts } from '../../src/os/mountinfo.js';
import { compareTrees, readTree } from '../support/tree.js';
import { createPlace, ended, type TestPlace } from './daemon-process.js';
import { expectedTree } from './golden-tree.js';
import { writeGoldenLayout } from './layouts.js';

let place: TestPlace;
beforeEach(async (ctx) => {
  if (process.geteuid?.() !== 0) ctx.skip('needs root');
  place = createPlace({ supervised: true });
  await writeGoldenLayout('full', join(place.dir, 'image'));
});
afterEach(() => place?.remove());

const mount = async (name: string, how: Partial<MountRequest> = {}) =>
  mountImage(place, {
    reference: `oci:${place.dir}/image:latest`,
    mountpoint: await place.mountpoint(name),
    driver: 'fuse',
    transport: 'libfuse',
    ...how,
  });
const mountsHere = async () =>
  (await readMounts()).filter(({ mountPoint }) => mountPoint.startsWith(`${place.dir}/`));

/** Kills the daemon; with `all`, its supervisor too, before it can be replaced. */
async function kill({ all }: { all: boolean }): Promise<number> {
  const { pid, supervisorPid } = (await daemonStatus(place))!;
  process.kill(pid, 'SIGSTOP');
  if (all) process.kill(supervisorPid!, 'SIGKILL');
  process.kill(pid, 'SIGKILL');
  expect(await ended(pid)).toBe(true);
  return pid;
}

// The kernel ends a libfuse mount with the process that has it open: nothing can be kept but what was written.
it.each([
  { what: 'the daemon', all: false },
  { what: 'daemon and supervisor', all: true },
])('mounts through libfuse end when $what is killed, and the next command finds none', async ({ all }) => {
  const kept = join(place.dir, 'kept');
  const plain = await mount('plain');
  const lost = await mount('lost', { writable: {} });
  const saved = await mount('saved', { writable: { directory: kept } });
  await writeFile(join(lost.mountpoint, 'new'), 'lost');
  await writeFile(join(saved.mountpoint, 'new'), 'kept');
  await writeFile(join(saved.mountpoint, 'last'), 'changed');
  const unread = await open(join(saved.mountpoint, 'sizes/3.5MiB-text'));
  const written = await open(join(saved.mountpoint, 'new'), 'a');

  const pid = await kill({ all });
  // An error, and no waiting: of what nobody serves any more. What was written is a file of the disk.
  await expect(unread.readFile()).rejects.toMatchObject({
    code: expect.stringMatching(/^E(NOTCONN|CONNABORTED|IO)$/),
  });
  await written.write(' on');
  await written.close();
  await unread.close().catch(() => {});

  expect(await listMounts(place)).toEqual([]);
  if (!all) expect((await daemonStatus(place))!.pid).not.toBe(pid);
  await vi.waitFor(async () => expect(await mountsHere()).toEqual([]), 20_000);
  for (const { mountpoint } of [plain, lost, saved]) expect(await readdir(mountpoint)).toEqual([]);
  expect(readFileSync(join(kept, 'upper/new'), 'utf8')).toBe('kept on');

  // At the same places.
  const again = await mount('saved', { writable: { directory: kept } });
  expect(await readFile(join(again.mountpoint, 'new'), 'utf8')).toBe('kept on');
  expect(await readFile(join(again.mountpoint, 'last'), 'utf8')).toBe('changed');
  expect(existsSync(lost.writable!.directory)).toBe(false);
  const { mountpoint } = await mount('plain');
  expect(compareTrees(expectedTree('full'), await readTree(mountpoint))).toEqual([]);
});
