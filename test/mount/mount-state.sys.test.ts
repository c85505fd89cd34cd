import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { FuseMount } from '../../src/fuse/fuse-mount.js';
import { mountLibfuse } from '../../src/fuse/libfuse.js';
import { openDaemonLog } from '../../src/mount/daemon-log.js';
import { cleanUpDeadMounts, type MountRecord, writeMountState } from '../../src/mount/mount-state.js';
import { mount, unmount } from '../../src/os/mount.js';
import { findMount } from '../../src/os/mountinfo.js';
import { MemoryFs } from '../fuse/memory-fs.js';

let dir: string;
let state: string;
let point: string;
let fuse: FuseMount | undefined;
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-state-'));
  state = join(dir, 'mounts.json');
  point = await mkdtemp(join(tmpdir(), 'rafter-point-'));
});
afterEach(async () => {
  while (await findMount(point)) unmount(point, { detach: true });
  await fuse?.ended;
  fuse = undefined;
  await rm(dir, { recursive: true });
  await rm(point, { recursive: true });
});
const record = (device: string): MountRecord => ({
  id: 'a1',
  reference: 'example.com/a:1',
  digest: `sha256:${'0'.repeat(64)}`,
  mountpoint: point,
  device,
});
const cleanUp = () => cleanUpDeadMounts(state, openDaemonLog(join(dir, 'log')));

async function mountFuse(): Promise<string> {
  fuse = await mountLibfuse(new MemoryFs(), point);
  return (await findMount(point))!.device;
}

it('takes away exactly the mount that was written down', async () => {
  writeMountState(state, [record(await mountFuse())]);
  await cleanUp();
  expect(await findMount(point)).toBeUndefined();
  expect(await readFile(join(dir, 'log'), 'utf8')).toContain('dead daemon');
});

it('leaves another mount at the same place alone', async () => {
  await mountFuse();
  writeMountState(state, [record('0:999999')]);
  await cleanUp();
  expect(await findMount(point)).toBeDefined();
});

it('leaves a mount alone that is not ours', async () => {
  mount({ source: 'none', target: point, type: 'tmpfs' });
  writeMountState(state, [record((await findMount(point))!.device)]);
  await cleanUp();
  expect(await findMount(point)).toMatchObject({ type: 'tmpfs' });
});

it('forgets what was mounted before the machine was started', async () => {
  writeMountState(state, [record(await mountFuse())]);
  const content = JSON.parse(await readFile(state, 'utf8'));
  await writeFile(state, JSON.stringify({ ...content, bootId: 'another boot' }));
  await cleanUp();
  expect(await findMount(point)).toBeDefined();
});

it('does nothing without a state file or with a damaged one', async () => {
  await mountFuse();
  await cleanUp();
  await writeFile(state, '{"bootId":');
  await cleanUp();
  await writeFile(state, '{"bootId":"x","mounts":[{"mountpoint":7}]}');
  await cleanUp();
  expect(await findMount(point)).toBeDefined();
});
