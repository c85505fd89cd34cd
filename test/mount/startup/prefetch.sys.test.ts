import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { convertImage } from '../../../src/convert/convert.js';
import { parseReference } from '../../../src/image/reference.js';
import type { MountRequest } from '../../../src/mount/api/api.js';
import { daemonStatus, listMounts, mountImage, unmountImage } from '../../../src/mount/client/client.js';
import { openSource, openTarget } from '../../../src/transports/open.js';
import { makeLayout } from '../../convert/layouts.js';
import { makeTar } from '../../convert/tar-writer.js';
import { type FakeRegistry, startFakeRegistry } from '../../support/fake-registry.js';
import { createPlace, readEverything, type TestPlace } from '../daemon-process.js';

const MIB = 1 << 20;
const WAIT = { timeout: 30_000, interval: 20 };
/** Each file stands in a layer, and so in a blob, of its own. */
const files = ['unlisted', 'second', 'first', 'in/third'].map((name, i) => ({
  name,
  data: randomBytes((i + 1) * MIB),
}));
const LISTED = 9 * MIB;

let dir: string;
let registry: FakeRegistry;
let place: TestPlace;
let reference: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-prefetch-'));
  registry = await startFakeRegistry();
  reference = `${registry.host}/some:1`;
  const layout = makeLayout(files.map((file) => ({ tar: makeTar([file]), compression: 'none' })));
  await convertImage({
    source: openSource(parseReference(`oci:${layout}:t`)),
    target: openTarget(parseReference(reference)),
    sourceReference: 'oci:some',
    platforms: ['linux/amd64'],
    options: { prefetch: ['/first', '/second', '/in'] },
  });
});
afterAll(async () => {
  await registry?.stop();
  await rm(dir, { recursive: true });
});
beforeEach(() => {
  registry.requests.length = 0;
});
afterEach(() => place.remove());

const mount = async (more: Partial<MountRequest> = {}) =>
  mountImage(place, {
    reference,
    mountpoint: await place.mountpoint('m'),
    platform: 'linux/amd64',
    access: {},
    ...more,
  });
const localBytes = async () => (await listMounts(place))[0]!.data!.localBytes;
/** Sizes in MiB of the blobs whose bytes were asked for, each once. */
const asked = () => {
  const ranged = registry.requests.filter(({ headers }) => headers.range !== undefined);
  const digests = new Set(ranged.map(({ url }) => decodeURIComponent(url.split('/').at(-1)!)));
  return [...digests].map((digest) => Math.floor(registry.blobs.get(digest)!.length / MIB));
};

describe.each(['erofs', 'fuse'] as const)('driver %s', (driver) => {
  it('what the table lists comes without being read, and nothing else', async () => {
    place = createPlace();
    const { id } = await mount({ driver });
    await vi.waitFor(async () => expect(await localBytes()).toBe(LISTED), WAIT);
    // Several at a time: which of them the registry hears of first is open.
    expect(asked().toSorted()).toEqual([2, 3, 4]);
    await unmountImage(place, { id });
    registry.requests.length = 0;
    const { mountpoint } = await mount({ driver });
    await readEverything(mountpoint);
    expect(asked()).toEqual([1]);
  });
});

it('a mount that wants none of it fetches what is read', async () => {
  place = createPlace();
  const { mountpoint } = await mount({ prefetch: false });
  expect(asked()).toEqual([]);
  await readEverything(mountpoint);
  expect(asked().toSorted()).toEqual([1, 2, 3, 4]);
});

describe('while the registry does not answer for blobs', () => {
  let isBlocked = false;

  beforeEach(() => {
    isBlocked = true;
    registry.intercept(/GET .*\/blobs\//, ({ headers }, response, next) => {
      if (isBlocked && headers.range !== undefined) response.flushHeaders();
      else next();
    });
  });
  afterEach(() => {
    isBlocked = false;
  });

  it('the image can be unmounted', async () => {
    place = createPlace();
    const { id } = await mount();
    await vi.waitFor(() => expect(asked()).not.toEqual([]), WAIT);
    await unmountImage(place, { id });
    expect(await listMounts(place)).toEqual([]);
  });

  it('a daemon that is killed leaves it to the next one', async () => {
    place = createPlace({ supervised: true });
    await mount();
    await vi.waitFor(() => expect(asked()).not.toEqual([]), WAIT);
    process.kill((await daemonStatus(place))!.pid, 'SIGKILL');
    isBlocked = false;
    await vi.waitFor(async () => expect(await localBytes()).toBe(LISTED), WAIT);
  });
});
