import { execFile } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { parseReference } from '../../../src/image/reference.js';
import { daemonStatus, listMounts, mountImage, shutdownDaemon } from '../../../src/mount/client/client.js';
import { findMount } from '../../../src/os/mountinfo.js';
import { copyImage } from '../../../src/transports/copy.js';
import { openSource, openTarget } from '../../../src/transports/open.js';
import { type FakeRegistry, hangUp, startFakeRegistry } from '../../support/fake-registry.js';
import { compareTrees, readTree } from '../../support/tree.js';
import { createPlace, ended, readEverything, type TestPlace } from '../daemon-process.js';
import { expectedTree } from '../golden-tree.js';
import { writeGoldenLayout } from '../layouts.js';

const run = promisify(execFile);
const program = resolve(import.meta.dirname, '../../../bin/rafter');
const WAIT = { timeout: 30_000, interval: 50 };
const RANGE = /GET .*\/blobs\//;

let layoutDir: string;
let registry: FakeRegistry;
let place: TestPlace;

beforeAll(async () => {
  layoutDir = await mkdtemp(join(tmpdir(), 'rafter-layout-'));
  await writeGoldenLayout('full', layoutDir);
});
afterAll(() => rm(layoutDir, { recursive: true }));
beforeEach(async () => {
  registry = await startFakeRegistry();
  const source = openSource(parseReference(`oci:${layoutDir}:latest`));
  await copyImage(source, openTarget(parseReference(`${registry.host}/full:1`)));
});
afterEach(async () => {
  await place.remove();
  await registry.stop();
});

const rafter = (...args: string[]) =>
  run(process.execPath, [program, ...args, '--run-dir', place.runDir, '--data-root', place.dataRoot]);
const isDone = async () => {
  const [mount] = await listMounts(place);
  expect(mount).toMatchObject({ completion: 'done' });
  expect(mount!.data!.localBytes).toBe(mount!.data!.bytes);
};

it('what was completed is mounted again and read without the registry’s blobs and without a FUSE request', async () => {
  place = createPlace();
  const dir = await place.mountpoint('m');
  const reference = `${registry.host}/full:1`;
  await rafter('mount', reference, dir, '--complete', 'always', '--complete-rate', '100M');
  await vi.waitFor(isDone, WAIT);
  expect((await rafter('mounts')).stdout).toContain('100% done');
  const [{ stats }] = (await listMounts(place)) as [Awaited<ReturnType<typeof listMounts>>[number]];
  expect(stats.requests).toBeLessThan(10);
  await rafter('umount', dir);
  const { pid } = (await daemonStatus(place))!;
  await shutdownDaemon(place);
  await ended(pid);
  const host = registry.host;
  // Without any blob; what the reference means is quickly said.
  registry.intercept(RANGE, hangUp, Number.POSITIVE_INFINITY);
  const again = await mountImage(place, { reference: `${host}/full:1`, mountpoint: dir });
  await readEverything(again.mountpoint);
  expect(compareTrees(expectedTree('full'), await readTree(again.mountpoint))).toEqual([]);
  if (again.driver === 'erofs') expect(await findMount(join(place.runDir, 'blobs'))).toBeUndefined();
  expect((await listMounts(place))[0]!.stats.requests).toBe(0);
});

it('goes on after the daemon died, and waits until readers had enough where that is asked for', async () => {
  place = createPlace({ supervised: true });
  const mountpoint = await place.mountpoint('m');
  await mountImage(place, {
    reference: `${registry.host}/full:1`,
    mountpoint,
    complete: 'after-ready',
  });
  let open: () => void = () => {};
  const gate = new Promise<void>((resolve) => {
    open = resolve;
  });
  registry.requests.length = 0;
  registry.intercept(RANGE, (_, response, next) => void gate.then(() => response.destroyed || next()));
  expect((await listMounts(place))[0]).toMatchObject({ completion: 'waiting' });
  await vi.waitFor(() => expect(registry.requests.length).toBeGreaterThan(0), WAIT);
  const { pid } = (await daemonStatus(place))!;
  process.kill(pid, 'SIGKILL');
  await ended(pid);
  open();
  await vi.waitFor(isDone, WAIT);
  expect((await daemonStatus(place))!.startReason).toBe('restart');
  registry.requests.length = 0;
  await readEverything(mountpoint);
  expect(registry.requests).toEqual([]);
});
