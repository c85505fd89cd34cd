import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { lockExistingFile, lockFile } from '../../src/os/file-lock.js';
import { libc } from '../../src/os/libc.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-lock-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

it('lets one holder in at a time and the next after release', () => {
  const path = join(dir, 'lock');
  const lock = lockFile(path);
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(() => lockFile(path)).toThrowError(expect.objectContaining({ code: 'BUSY' }));
  lock.release();
  lockFile(path).release();
});

it('is seen by other programs and freed by the kernel when its holder is killed', async () => {
  const path = join(dir, 'lock');
  const lock = lockFile(path);
  await expect(promisify(execFile)('flock', ['-n', path, 'true'])).rejects.toMatchObject({ code: 1 });
  lock.release();
  const holder = spawn('flock', ['-F', path, 'sh', '-c', 'echo held; exec sleep 60'], {
    stdio: ['ignore', 'pipe', 'ignore'],
  });
  try {
    await once(holder.stdout, 'data');
    expect(() => lockFile(path)).toThrowError(expect.objectContaining({ code: 'BUSY' }));
  } finally {
    holder.kill('SIGKILL');
    await once(holder, 'close');
  }
  await expect.poll(() => tryLock(path)).toBe(true);
});

it('takes the lock of a file that is there, and makes none', () => {
  const path = join(dir, 'lock');
  expect(lockExistingFile(path)).toBeUndefined();
  expect(existsSync(path)).toBe(false);
  const lock = lockFile(path);
  expect(lockExistingFile(path)).toBeUndefined();
  lock.release();
  const taken = lockExistingFile(path)!;
  expect(() => lockFile(path)).toThrowError(expect.objectContaining({ code: 'BUSY' }));
  taken.release();
});

it('takes no lock of a file that its holder has removed meanwhile', () => {
  const path = join(dir, 'lock');
  lockFile(path).release();
  const flock = vi.spyOn(libc(), 'flock').mockImplementationOnce(() => {
    rmSync(path);
    return 0;
  });
  expect(lockExistingFile(path)).toBeUndefined();
  expect(flock).toHaveBeenCalledOnce();
  flock.mockRestore();
});

it('names the file that cannot be opened', () => {
  expect(() => lockFile(join(dir, 'none/lock'))).toThrow(/none\/lock/);
});

function tryLock(path: string): boolean {
  try {
    lockFile(path).release();
    return true;
  } catch {
    return false;
  }
}
