import { existsSync } from 'node:fs';
import { open, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { MountRequest } from '../../src/mount/api/api.js';
import {
  daemonStatus,
  listMounts,
  mountImage,
  shutdownDaemon,
  unmountImage,
} from '../../src/mount/client/client.js';
import { unmount } from '../../src/os/mount.js';
import { findMount, readMounts } from '../../src/os/mountinfo.js';
import { missingPrograms } from '../support/programs.js';
import { compareTrees, readTree } from '../support/tree.js';
import { createPlace, ended, type TestPlace } from './daemon-process.js';
import { overlayOnExt4 } from './ext4-overlay.js';
import { expectedTree } from './golden-tree.js';
import { writeGoldenLayout } from './layouts.js';
import { changeTree } from './overlay-changes.js';

let place: TestPlace;
beforeEach(async () => {
  place = createPlace({ supervised: true });
  await writeGoldenLayout('full', join(place.dir, 'image'));
});
afterEach(() => place.remove());

const image = () => `oci:${place.dir}/image:latest`;
async function mountWritable(name: string, how: Partial<MountRequest> = {}) {
  const mountpoint = await place.mountpoint(name);
  return mountImage(place, { reference: image(), mountpoint, writable: {}, ...how });
}
const mountsHere = async () =>
  (await readMounts()).filter(({ mountPoint }) => mountPoint.startsWith(`${place.dir}/`));
/** Everything but the mount that blobs are served from. */
const treesHere = async () => (await mountsHere()).filter(({ mountPoint }) => !mountPoint.endsWith('/blobs'));

it('changes as an overlay on ext4 does: every attribute of every path, through every driver', async (ctx) => {
  const missing = missingPrograms('mkfs.ext4', 'setfattr', 'bash');
  if (missing) ctx.skip(missing);
  // ext4 holds no time beyond the year 2446.
  const far = (path: string, field: string) => path === '/times/far-base256' && field === 'mtime';
  const plain = await mountImage(place, { reference: image(), mountpoint: await place.mountpoint('plain') });
  const reference = await overlayOnExt4(place, plain.mountpoint);
  try {
    // What ext4 cannot hold, and what overlayfs keeps for itself.
    const before = compareTrees(expectedTree('full'), await readTree(reference.root), far);
    expect(before.map((line) => line.slice(0, 30))).toEqual([
      '/links/len4095: missing',
      '/xattrs/opaque-style: xattrs i',
    ]);
    const said = changeTree(reference.root);
    const expected = await readTree(reference.root);
    expect(compareTrees(expectedTree('full'), expected).length).toBeGreaterThan(40);
    for (const how of [{ driver: 'erofs' }, { driver: 'fuse' }, { transport: 'libfuse' }] as const) {
      const { mountpoint, ...info } = await mountWritable(Object.values(how)[0], how);
      expect(info).toMatchObject({ ...how, writable: { kept: false } });
      expect(changeTree(mountpoint)).toBe(said);
      expect(compareTrees(expected, await readTree(mountpoint), far)).toEqual([]);
      await unmountImage(place, { mountpoint });
      expect(await readdir(mountpoint)).toEqual([]);
      await vi.waitFor(() => expect(existsSync(info.writable!.directory)).toBe(false), 10_000);
    }
    expect(compareTrees(expectedTree('full'), await readTree(plain.mountpoint))).toEqual([]);
  } finally {
    reference.remove();
  }
});

it('keeps what was written in --upper, for one mount of one image at a time', async () => {
  const directory = join(place.dir, 'kept');
  const first = await mountWritable('one', { writable: { directory } });
  await writeFile(join(first.mountpoint, 'sizes/1'), 'changed');
  expect((await listMounts(place))[0]!.writable).toEqual({ directory, kept: true });
  await expect(mountWritable('two', { writable: { directory } })).rejects.toMatchObject({
    code: 'BUSY',
    message: expect.stringContaining(first.mountpoint),
  });
  expect((await treesHere()).length).toBe(2);

  const file = await open(join(first.mountpoint, 'last'), 'r+');
  await expect(unmountImage(place, { id: first.id })).rejects.toMatchObject({ code: 'BUSY' });
  await file.write('still here');
  await file.close();
  await unmountImage(place, { id: first.id });
  await vi.waitFor(async () => expect(await treesHere()).toEqual([]), 10_000);

  const again = await mountWritable('two', { writable: { directory } });
  expect(await readFile(join(again.mountpoint, 'sizes/1'), 'utf8')).toBe('changed');
  expect((await readFile(join(again.mountpoint, 'last'), 'latin1')).slice(0, 10)).toBe('still here');
  // Whoever unmounts the tree: the image under it goes, too.
  unmount(again.mountpoint);
  await vi.waitFor(async () => expect(await treesHere()).toEqual([]), 10_000);
  await vi.waitFor(async () => expect(await listMounts(place)).toEqual([]), 10_000);

  await writeGoldenLayout('small', join(place.dir, 'other'));
  const other = { writable: { directory }, reference: `oci:${place.dir}/other:latest` };
  await expect(mountWritable('two', other)).rejects.toMatchObject({ code: 'USAGE' });
  await writeFile(join(place.dir, 'file'), '');
  const noDirectory = { writable: { directory: join(place.dir, 'file') } };
  await expect(mountWritable('two', noDirectory)).rejects.toMatchObject({ code: 'USAGE' });
  const odd = { writable: { directory: join(place.dir, 'a:b') } };
  await expect(mountWritable('two', odd)).rejects.toMatchObject({ code: 'USAGE' });
  expect(await treesHere()).toEqual([]);
  expect(await listMounts(place)).toEqual([]);
});

it('stays when the daemon is killed, also with files open, and ends with it', async () => {
  const { mountpoint, writable } = await mountWritable('m');
  const lazy = await mountWritable('lazy');
  await writeFile(join(mountpoint, 'new'), 'before');
  const file = await open(join(mountpoint, 'last'), 'r+');
  const left = await open(join(lazy.mountpoint, 'sizes/1MiB'));
  await unmountImage(place, { id: lazy.id }, { force: true });
  const before = (await daemonStatus(place))!;
  process.kill(before.pid, 'SIGKILL');
  await vi.waitFor(async () => expect((await daemonStatus(place))!.pid).not.toBe(before.pid), 20_000);
  await file.write('after');
  await file.close();
  expect(await readFile(join(mountpoint, 'new'), 'utf8')).toBe('before');
  expect((await readFile(join(mountpoint, 'sizes/3.5MiB-text'))).length).toBe(3_670_016);
  expect((await left.readFile()).length).toBe(1_048_576);
  await left.close();
  await vi.waitFor(() => expect(existsSync(lazy.writable!.directory)).toBe(false), 10_000);
  const { pid } = (await daemonStatus(place))!;
  await shutdownDaemon(place);
  expect(await ended(pid)).toBe(true);
  expect(await mountsHere()).toEqual([]);
  expect(existsSync(writable!.directory)).toBe(false);
});

it('is taken away when daemon and supervisor have died: both layers, and what was written for a moment', async () => {
  const kept = join(place.dir, 'kept');
  const first = await mountWritable('one');
  const second = await mountWritable('two', { writable: { directory: kept } });
  const third = await mountWritable('three');
  await writeFile(join(second.mountpoint, 'new'), 'kept');
  const { pid, supervisorPid } = (await daemonStatus(place))!;
  // Stopped, it cannot start another supervisor first.
  process.kill(pid, 'SIGSTOP');
  for (const id of [supervisorPid!, pid]) process.kill(id, 'SIGKILL');
  expect(await ended(pid)).toBe(true);
  await unmountImage(place, { mountpoint: third.mountpoint });
  expect(await findMount(third.mountpoint)).toBeUndefined();
  const notices: string[] = [];
  expect(await listMounts({ ...place, onNotice: (text) => notices.push(text) })).toEqual([]);
  expect(notices.length).toBe(2);
  expect(await treesHere()).toEqual([]);
  const again = await mountWritable('two', { writable: { directory: kept } });
  expect(await readFile(join(again.mountpoint, 'new'), 'utf8')).toBe('kept');
  expect(existsSync(first.writable!.directory)).toBe(false);
});
