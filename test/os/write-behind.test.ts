import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import * as libc from '../../src/os/libc.js';
import { createWriteBehind } from '../../src/os/write-behind.js';

const MB = 1 << 20;

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-write-behind-'));
});
afterEach(() => {
  vi.restoreAllMocks();
  rmSync(directory, { recursive: true, force: true });
});

it('asks for each byte once, in steps, and leaves the file as it was written', async () => {
  const real = libc.libc();
  const ranges: number[][] = [];
  vi.spyOn(libc, 'libc').mockReturnValue({
    ...real,
    syncFileRangeAside: (fd, offset, length, flags) => {
      ranges.push([offset, length]);
      return real.syncFileRangeAside(fd, offset, length, flags);
    },
  });
  const path = join(directory, 'blob');
  const handle = await open(path, 'w');
  const behind = createWriteBehind(handle);
  const bytes = randomBytes(21 * MB);
  for (let at = 0; at < bytes.length; at += MB) {
    await handle.writeFile(bytes.subarray(at, at + MB));
    behind.grown(at + MB);
    await behind.idle();
  }
  await handle.close();
  expect(ranges).toEqual([
    [0, 8 * MB],
    [8 * MB, 8 * MB],
  ]);
  expect(readFileSync(path).equals(bytes)).toBe(true);
});

it('begins nothing while the last step is not begun, and then takes all that has come', async () => {
  const lengths: number[] = [];
  let begun = () => {};
  vi.spyOn(libc, 'libc').mockReturnValue({
    ...libc.libc(),
    syncFileRangeAside: (_fd, _offset, length) => {
      lengths.push(length);
      return new Promise((resolve) => {
        begun = () => resolve({ result: 0, errno: 0 });
      });
    },
  });
  const handle = await open(join(directory, 'blob'), 'w');
  const behind = createWriteBehind(handle);
  for (let size = MB; size <= 30 * MB; size += MB) behind.grown(size);
  expect(lengths).toEqual([8 * MB]);
  begun();
  await behind.idle();
  behind.grown(31 * MB);
  expect(lengths).toEqual([8 * MB, 23 * MB]);
  begun();
  await behind.idle();
  await handle.close();
});

it('leaves what cannot be written out to fsync', async () => {
  const handle = await open('/dev/null', 'w');
  const behind = createWriteBehind(handle);
  behind.grown(8 * MB);
  await behind.idle();
  await handle.close();
});
