import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { lockFile } from '../../src/os/file-lock.js';

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
