import { chmod, chown, lchown, mkdir, mkdtemp, readdir, rm, stat, symlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { prepareRunDir, runFiles } from '../../../src/mount/client/run-dir.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-run-'));
});
afterEach(() => rm(dir, { recursive: true }));

it('creates a private directory and leaves the mode of one that exists', async () => {
  const path = join(dir, 'a/b');
  expect(prepareRunDir(path).socket).toBe(join(path, 'rafter.sock'));
  expect((await stat(path)).mode & 0o777).toBe(0o700);
  await chmod(path, 0o755);
  prepareRunDir(path);
  expect((await stat(path)).mode & 0o777).toBe(0o755);
});

it.each([0o777, 0o770, 0o1777])(
  'refuses a directory of mode %o, where others could replace the socket',
  async (mode) => {
    const path = join(dir, 'open');
    await mkdir(path);
    await chmod(path, mode);
    expect(() => prepareRunDir(path)).toThrow(
      expect.objectContaining({
        code: 'DENIED',
        message: expect.stringContaining(path),
        hint: expect.stringContaining('--run-dir'),
      }),
    );
  },
);

it('refuses one of somebody else, or that he leads to, or could replace, and says whose it is', async (ctx) => {
  if (process.geteuid?.() !== 0) return ctx.skip('giving files to somebody else needs root');
  const his = join(dir, 'his');
  await mkdir(his);
  await chown(his, 1234, 1234);
  const denied = (path: string, message: string) =>
    expect(() => prepareRunDir(path)).toThrow(expect.objectContaining({ code: 'DENIED', message }));
  denied(his, `${his} belongs to user 1234`);

  const mine = join(dir, 'mine');
  await mkdir(mine, { mode: 0o700 });
  const link = join(dir, 'link');
  await symlink(mine, link);
  prepareRunDir(link);
  await lchown(link, 1234, 1234);
  denied(link, `${link} is a symlink that belongs to user 1234`);
  expect(await readdir(mine)).toEqual([]);

  const open = join(dir, 'open');
  await mkdir(join(open, 'run'), { recursive: true, mode: 0o700 });
  await chmod(open, 0o777);
  const replaced = `others can write to ${open}, and so put another directory in the place of ${open}/run`;
  denied(join(open, 'run'), replaced);
  await chmod(open, 0o1777);
  prepareRunDir(join(open, 'run'));
});

it('takes a socket path of 107 bytes, which is what the kernel takes, and not of 108', () => {
  const longest = `/${'x'.repeat(107 - '/rafter.sock'.length - 1)}`;
  expect(Buffer.byteLength(runFiles(longest).socket)).toBe(107);
  expect(() => runFiles(`${longest}x`)).toThrowError(expect.objectContaining({ code: 'USAGE' }));
  expect(() => runFiles(`/${'é'.repeat(60)}`)).toThrowError(expect.objectContaining({ code: 'USAGE' }));
});
