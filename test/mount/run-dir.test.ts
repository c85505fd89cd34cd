import { chmod, mkdir, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { prepareRunDir, runFiles } from '../../src/mount/run-dir.js';

let dir: string;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-run-'));
});
afterEach(() => rm(dir, { recursive: true }));

it('creates a private directory and leaves the mode of one that exists', async () => {
  const path = join(dir, 'a/b');
  expect((await prepareRunDir(path)).socket).toBe(join(path, 'rafter.sock'));
  expect((await stat(path)).mode & 0o777).toBe(0o700);
  await chmod(path, 0o755);
  await prepareRunDir(path);
  expect((await stat(path)).mode & 0o777).toBe(0o755);
});

it.each([0o777, 0o770, 0o1777])(
  'refuses a directory of mode %o, where others could replace the socket',
  async (mode) => {
    const path = join(dir, 'open');
    await mkdir(path);
    await chmod(path, mode);
    await expect(prepareRunDir(path)).rejects.toMatchObject({
      code: 'DENIED',
      message: expect.stringContaining(path),
      hint: expect.stringContaining('--run-dir'),
    });
  },
);

it('takes a socket path of 107 bytes, which is what the kernel takes, and not of 108', () => {
  const longest = `/${'x'.repeat(107 - '/rafter.sock'.length - 1)}`;
  expect(Buffer.byteLength(runFiles(longest).socket)).toBe(107);
  expect(() => runFiles(`${longest}x`)).toThrowError(expect.objectContaining({ code: 'USAGE' }));
  expect(() => runFiles(`/${'é'.repeat(60)}`)).toThrowError(expect.objectContaining({ code: 'USAGE' }));
});
