import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { takeAwayDeadMounts } from '../../../src/mount/client/dead-mounts.js';
import { runFiles } from '../../../src/mount/client/run-dir.js';
import { writeMountState } from '../../../src/mount/mount-state.js';
import { lockFile } from '../../../src/os/file-lock.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-dead-'));
});
afterEach(() => rmSync(dir, { recursive: true }));

it('waits for a daemon that was killed until it has given up its lock, or its mounts would stay', async () => {
  const files = runFiles(dir);
  writeMountState(files.state, []);
  const held = lockFile(files.lock);
  let isGone = false;
  setTimeout(() => {
    isGone = true;
    held.release();
  }, 50);
  expect(await takeAwayDeadMounts(dir)).toEqual([]);
  expect(isGone).toBe(true);
  // Nobody holds it now.
  lockFile(files.lock).release();
});

it('does not look where no daemon has been', async () => {
  const held = lockFile(runFiles(dir).lock);
  expect(await takeAwayDeadMounts(dir)).toEqual([]);
  held.release();
});
