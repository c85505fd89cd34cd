import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest';
import { parseReference } from '../../src/image/reference.js';
import {
  daemonStatus,
  listMounts,
  mountImage,
  shutdownDaemon,
  unmountImage,
} from '../../src/mount/client/client.js';
import { findMount } from '../../src/os/mountinfo.js';
import { copyImage } from '../../src/transports/copy.js';
import { openSource, openTarget } from '../../src/transports/open.js';
import { goldenTree } from '../rafs/golden.js';
import { missingPrograms } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';
import { compareTrees, readTree } from '../support/tree.js';
import { allText, createPlace, ended, readEverything, type TestPlace } from './daemon-process.js';
import { expectedTree } from './golden-tree.js';
import { writeGoldenLayout } from './layouts.js';

const missing = missingPrograms('docker-registry', 'htpasswd');
const credentials = { username: 'reader', password: 'unlikely-pass-word-4711' };
let layoutDir: string;
let registry: TestRegistry;
let locked: TestRegistry;
let place: TestPlace;

beforeAll(async () => {
  if (missing) return;
  layoutDir = await mkdtemp(join(tmpdir(), 'rafter-layout-'));
  await writeGoldenLayout('full', layoutDir);
  registry = await startRegistry();
  locked = await startRegistry({ htpasswd: { user: credentials.username, password: credentials.password } });
  for (const [host, access] of [
    [registry.host, {}],
    [locked.host, { credentials }],
  ] as const) {
    const source = openSource(parseReference(`oci:${layoutDir}:latest`));
    await copyImage(source, openTarget(parseReference(`${host}/full:1`), access));
  }
});
afterAll(async () => {
  await registry?.stop();
  await locked?.stop();
  if (layoutDir) await rm(layoutDir, { recursive: true });
});
beforeEach((ctx) => {
  if (missing) ctx.skip(missing);
  place = createPlace();
  registry.requests.length = 0;
});
afterEach(async () => {
  if (!missing) await place.remove();
});

const mountFull = async (host = registry.host, access = {}) =>
  mountImage(place, { reference: `${host}/full:1`, mountpoint: await place.mountpoint('m'), access });

it('downloads manifest, configuration, bootstrap and chunk maps at mount, and data when it is read', async () => {
  const mounted = await mountFull();
  const blobs = goldenTree('full').reduce((sum, { size = 0 }) => sum + size, 0);
  const atMount = registry.bytesSent();
  expect(atMount).toBeLessThan(mounted.imageSize / 10);
  expect(blobs).toBeGreaterThan(mounted.imageSize);
  const whole = registry.requests.filter(
    ({ range, path, method }) => method === 'GET' && !range && path.includes('/blobs/'),
  );
  // The configuration and the bootstrap layer; nothing of a data blob but its end.
  expect(whole.length).toBe(2);
  const file = goldenTree('full').find(({ type, size }) => type === 'file' && size === 4097)!;
  registry.requests.length = 0;
  await readFile(join(mounted.mountpoint, file.path!));
  expect(registry.requests.length).toBeGreaterThan(0);
  expect(registry.requests.every(({ range }) => range !== undefined)).toBe(true);
  const [{ stats }] = (await listMounts(place)) as [Awaited<ReturnType<typeof listMounts>>[number]];
  expect(stats.fetchedBytes).toBe(registry.bytesSent());
  expect(stats.fetchedBytes).toBeLessThan(mounted.imageSize);
});

it('mounts and reads everything a second time with the registry stopped, after a restart too', async () => {
  const first = await mountFull();
  await readEverything(first.mountpoint);
  expect(compareTrees(expectedTree('full'), await readTree(first.mountpoint))).toEqual([]);
  const { pid } = (await daemonStatus(place))!;
  await shutdownDaemon(place);
  await ended(pid);
  await registry.pause();
  try {
    const again = await mountFull();
    expect(again.digest).toBe(first.digest);
    expect(again.metadataBytes).toBe(0);
    expect(again.warnings).toEqual([expect.stringContaining('meant last')]);
    expect(compareTrees(expectedTree('full'), await readTree(again.mountpoint))).toEqual([]);
    expect((await listMounts(place))[0]!.stats.fetchedBytes).toBe(0);
  } finally {
    await registry.resume();
  }
});

it('waits for a registry that comes back while somebody reads', async () => {
  const mounted = await mountFull();
  const file = goldenTree('full').find(({ type, size }) => type === 'file' && size! > 1_000_000)!;
  await registry.pause();
  const reading = readFile(join(mounted.mountpoint, file.path!));
  setTimeout(() => registry.resume(), 700);
  expect((await reading).length).toBe(file.size);
});

it('is refused without credentials, served with them, and writes them nowhere', async () => {
  await expect(mountFull(locked.host)).rejects.toMatchObject({ code: 'DENIED' });
  expect(await findMount(join(place.dir, 'm'))).toBeUndefined();
  await expect(
    mountFull(locked.host, { credentials: { ...credentials, password: 'wrong-pass-word-0815' } }),
  ).rejects.toMatchObject({ code: 'DENIED' });
  const mounted = await mountFull(locked.host, { credentials });
  await readEverything(mounted.mountpoint);
  await unmountImage(place, { id: mounted.id });
  const { pid } = (await daemonStatus(place))!;
  const commandLine = await readFile(`/proc/${pid}/cmdline`, 'utf8');
  await shutdownDaemon(place);
  const written = (await allText(place.runDir)) + (await allText(place.dataRoot)) + commandLine;
  expect(written).toContain(mounted.digest);
  for (const secret of [credentials.password, 'wrong-pass-word-0815'])
    for (const form of [
      secret,
      Buffer.from(secret).toString('base64'),
      Buffer.from(`${credentials.username}:${secret}`).toString('base64'),
    ])
      expect(written).not.toContain(form);
});
