import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { daemonStatus, listMounts, mountImage, upgradeDaemon } from '../../src/mount/client/client.js';
import { findMount } from '../../src/os/mountinfo.js';
import { compareTrees, readTree } from '../support/tree.js';
import { createPlace, ended, type TestPlace } from './daemon-process.js';
import { expectedTree } from './golden-tree.js';
import { writeGoldenLayout } from './layouts.js';

const rafter = resolve(import.meta.dirname, '../../bin/rafter');
const directory = mkdtempSync(join(tmpdir(), 'rafter-death-'));
const layout = join(directory, 'layout');
const reference = `oci:${layout}:latest`;
beforeAll(() => writeGoldenLayout('full', layout));
afterAll(() => rm(directory, { recursive: true, force: true }));

let place: TestPlace;
beforeEach(() => {
  place = createPlace({ supervised: true });
});
afterEach(() => place.remove());

const WAYS = {
  erofs: { driver: 'erofs' },
  loop: { driver: 'erofs', backing: 'loop' },
  fuse: { driver: 'fuse' },
} as const;
const mount = async (way: keyof typeof WAYS) =>
  mountImage(place, { reference, mountpoint: await place.mountpoint(way), ...WAYS[way] });
const status = async () => (await daemonStatus(place))!;

async function kill(pid: number): Promise<void> {
  process.kill(pid, 'SIGKILL');
  await ended(pid);
}

it('replaces a supervisor that was killed, and the new one keeps the mounts', async () => {
  const mounts = [await mount('erofs'), await mount('fuse')];
  const before = await status();
  await kill(before.supervisorPid!);
  const healed = await vi.waitFor(
    async () => {
      const now = await status();
      expect(now.supervisorPid).toBeDefined();
      expect(now.supervisorPid).not.toBe(before.supervisorPid);
      return now;
    },
    { timeout: 20_000, interval: 50 },
  );
  expect(healed.pid).toBe(before.pid);
  await kill(healed.pid);
  for (const { mountpoint } of mounts)
    expect(compareTrees(expectedTree('full'), await readTree(mountpoint))).toEqual([]);
  const after = await status();
  expect(after).toMatchObject({ supervisorPid: healed.supervisorPid, startReason: 'restart', mounts: 2 });
});

it('cleans up at the next command when both have died, and says so', async () => {
  const mounts = [await mount('erofs'), await mount('loop'), await mount('fuse')];
  const { pid, supervisorPid } = await status();
  // Stopped, it cannot start another supervisor first.
  process.kill(pid, 'SIGSTOP');
  await kill(supervisorPid!);
  await kill(pid);
  const notices: string[] = [];
  const listed = await listMounts({ runDir: place.runDir, onNotice: (text) => notices.push(text) });
  expect(listed).toEqual([]);
  expect(notices).toHaveLength(3);
  for (const { mountpoint } of mounts) {
    expect(notices.join('\n')).toContain(mountpoint);
    expect(await findMount(mountpoint)).toBeUndefined();
  }
  expect(await findMount(join(place.runDir, 'blobs'))).toBeUndefined();
  const left = join(place.dataRoot, 'tmp/bootstrap-1-left');
  writeFileSync(left, 'of a daemon that was killed while it mounted');
  const again = await mount('erofs');
  expect(existsSync(left)).toBe(false);
  expect(compareTrees(expectedTree('full'), await readTree(again.mountpoint))).toEqual([]);
});

it('an upgrade keeps mounts of both drivers, and readers see no error', async () => {
  const mounts = [await mount('erofs'), await mount('loop'), await mount('fuse')];
  const before = await status();
  const reader = spawn('sh', [
    '-c',
    `while [ ! -e ${place.dir}/stop ]; do tar -cf - -C ${place.dir} erofs loop fuse > /dev/null || exit 1; done`,
  ]);
  const exit = new Promise<number | null>((resolve) => reader.once('exit', resolve));
  const after = await upgradeDaemon(place, [...place.command, '--idle', '0']);
  expect(after.pid).not.toBe(before.pid);
  expect(after).toMatchObject({ startReason: 'upgrade', supervisorPid: before.supervisorPid, mounts: 3 });
  for (const { mountpoint } of mounts)
    expect(compareTrees(expectedTree('full'), await readTree(mountpoint))).toEqual([]);
  execFileSync('touch', [join(place.dir, 'stop')]);
  expect(await exit).toBe(0);
  const text = execFileSync(rafter, ['daemon', 'upgrade', '--run-dir', place.runDir], { encoding: 'utf8' });
  expect(text).toContain(`(process ${after.pid}) -> `);
});

it('brings the old daemon back when the new one does not come up', async () => {
  const { mountpoint } = await mount('fuse');
  const before = await status();
  const broken = [process.execPath, '-e', 'process.exit(3)'];
  await expect(upgradeDaemon(place, broken)).rejects.toMatchObject({
    code: 'FAILED',
    message: expect.stringContaining('did not come up'),
  });
  const after = await status();
  expect(after.pid).not.toBe(before.pid);
  expect(after).toMatchObject({ startReason: 'failed upgrade', version: before.version, mounts: 1 });
  expect(compareTrees(expectedTree('full'), await readTree(mountpoint))).toEqual([]);
});

it('the supervisor has less than 5 MB of its own beside what Node.js has', async () => {
  await mount('fuse');
  const { supervisorPid, pid } = await status();
  // Once it has held a descriptor and started a second daemon, it has loaded all that it ever loads.
  await kill(pid);
  await status();
  const bare = spawn(process.execPath, ['-e', 'console.log(1); setInterval(() => {}, 1e6)']);
  await new Promise((resolve) => bare.stdout.once('data', resolve));
  try {
    expect(ownMemory(supervisorPid!) - ownMemory(bare.pid!)).toBeLessThan(5 << 20);
  } finally {
    bare.kill('SIGKILL');
  }
});

/** Bytes that no other process shares: what it would give back by ending. */
function ownMemory(pid: number): number {
  const text = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  return Number(/^Private_Dirty:\s+(\d+)/m.exec(text)![1]) * 1024;
}
