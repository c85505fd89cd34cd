import { mkdtemp, open, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { cloneMount } from '../../src/os/detached-mount.js';
import { MS_RDONLY, mount, unmount } from '../../src/os/mount.js';
import { findMount, isMountPoint } from '../../src/os/mountinfo.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter mount-'));
});
afterEach(async () => {
  while (await isMountPoint(dir)) unmount(dir, { detach: true });
  await rm(dir, { recursive: true });
});
const tmpfs = (target = dir) => mount({ source: 'none', target, type: 'tmpfs', data: 'size=1m,mode=0711' });

it('mounts with data and flags, at a path with a space, and unmounts', async () => {
  mount({ source: 'none', target: dir, type: 'tmpfs', flags: MS_RDONLY, data: 'size=1m' });
  expect(await findMount(dir)).toMatchObject({ type: 'tmpfs', mountPoint: dir });
  await expect(writeFile(join(dir, 'f'), '')).rejects.toMatchObject({ code: 'EROFS' });
  unmount(dir);
  expect(await isMountPoint(dir)).toBe(false);
});

it('says BUSY while a file is open, and detaches all the same', async () => {
  tmpfs();
  const file = await open(join(dir, 'f'), 'w');
  try {
    expect(() => unmount(dir)).toThrowError(
      expect.objectContaining({ code: 'BUSY', hint: expect.stringContaining('fuser') }),
    );
    unmount(dir, { detach: true });
    expect(await isMountPoint(dir)).toBe(false);
    await file.write('still there');
  } finally {
    await file.close();
  }
});

it('reports the topmost of stacked mounts', async () => {
  tmpfs();
  mount({ source: 'upper', target: dir, type: 'tmpfs' });
  expect(await findMount(dir)).toMatchObject({ source: 'upper' });
  unmount(dir);
  expect(await findMount(dir)).toMatchObject({ source: 'none' });
});

it('refuses an unknown file system, a missing target, something not mounted, and a link to a mount', async () => {
  const code = (code: string) => expect.objectContaining({ code });
  expect(() => mount({ source: 'none', target: dir, type: 'nosuchfs' })).toThrowError(code('UNSUPPORTED'));
  expect(() => tmpfs(join(dir, 'none'))).toThrowError(code('NOT_FOUND'));
  expect(() => unmount(dir)).toThrow(/EINVAL/);
  tmpfs();
  const link = `${dir}-link`;
  await symlink(dir, link);
  try {
    expect(() => unmount(link)).toThrow(/EINVAL/);
  } finally {
    await rm(link);
  }
});

it('refuses options that the kernel would cut', () => {
  expect(() => mount({ source: 'none', target: dir, type: 'tmpfs', data: 'x'.repeat(4096) })).toThrow(
    RangeError,
  );
});

it('keeps a file system that is mounted nowhere, for another place', async () => {
  tmpfs();
  await writeFile(join(dir, 'f'), 'kept');
  const detached = cloneMount(dir);
  unmount(dir);
  expect(await readdir(dir)).toEqual([]);
  detached.attach(dir);
  await detached.close();
  expect(await readFile(join(dir, 'f'), 'utf8')).toBe('kept');
  expect(() => cloneMount(join(dir, 'none'))).toThrowError(expect.objectContaining({ code: 'NOT_FOUND' }));
});
