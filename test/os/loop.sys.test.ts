import { mkdtempSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { attachLoop, LOOP_BLOCK_SIZE } from '../../src/os/loop.js';
import { mountErofsOnLoops } from '../../src/os/mount-erofs-loop.js';
import { findMount } from '../../src/os/mountinfo.js';
import { loopFiles } from '../support/loops.js';

let dir: string;
beforeEach((ctx) => {
  if (process.geteuid?.() !== 0) ctx.skip('needs root');
  dir = mkdtempSync(join(tmpdir(), 'rafter-loop-'));
});
afterEach(() => {
  if (dir) rmSync(dir, { recursive: true });
});

function fileOf(size: number, name: string): string {
  const path = join(dir, name);
  writeFileSync(path, '');
  truncateSync(path, size);
  return path;
}
const noneIsLeft = () => vi.waitFor(() => expect(loopFiles(dir)).toEqual([]), 10_000);

it('a device has the file as long as it is open', async () => {
  const file = fileOf(LOOP_BLOCK_SIZE, 'one');
  const loop = await attachLoop(file);
  expect(loop.path).toMatch(/^\/dev\/loop\d+$/);
  expect(loopFiles(dir)).toEqual([file]);
  await loop.close();
  await noneIsLeft();
});

it('many at the same time get devices of their own', async () => {
  const files = Array.from({ length: 12 }, (_, i) => fileOf(LOOP_BLOCK_SIZE, `file${i}`));
  const loops = await Promise.all(files.map(attachLoop));
  expect(new Set(loops.map(({ path }) => path)).size).toBe(files.length);
  expect(loopFiles(dir).sort()).toEqual(files.sort());
  await Promise.all(loops.map((loop) => loop.close()));
  await noneIsLeft();
});

it('a file that is not whole blocks is refused: its end would be missing', async () => {
  await expect(attachLoop(fileOf(LOOP_BLOCK_SIZE + 512, 'odd'))).rejects.toThrow(RangeError);
  await noneIsLeft();
});

it.each([
  ['a blob is missing', { devices: ['first', 'missing'] }, 'ENOENT'],
  ['the bootstrap is none', { devices: ['first'] }, 'EINVAL'],
])('a mount that fails because %s leaves no device', async (_, { devices }, reason) => {
  const bootstrap = fileOf(2 * LOOP_BLOCK_SIZE, 'bootstrap');
  fileOf(LOOP_BLOCK_SIZE, 'first');
  const target = join(dir, '.');
  const paths = devices.map((name) => join(dir, name));
  await expect(mountErofsOnLoops({ bootstrap, devices: paths, target })).rejects.toThrow(reason);
  expect(await findMount(dir)).toBeUndefined();
  await noneIsLeft();
});
