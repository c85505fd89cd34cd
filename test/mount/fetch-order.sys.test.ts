import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { convertImage } from '../../src/convert/convert.js';
import { hexOf } from '../../src/image/descriptor.js';
import { parseReference } from '../../src/image/reference.js';
import { openImage } from '../../src/inspect/open-image.js';
import type { MountRequest } from '../../src/mount/api/api.js';
import { daemonStatus, listMounts, mountImage } from '../../src/mount/client/client.js';
import { optimizeImage } from '../../src/optimize/optimize.js';
import { openSource, openTarget } from '../../src/transports/open.js';
import { makeLayout } from '../convert/layouts.js';
import { makeTar } from '../convert/tar-writer.js';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.js';
import { parseMetrics } from '../support/prometheus.js';
import { createPlace, readEverything, type TestPlace } from './daemon-process.js';

const MIB = 1 << 20;
const WAIT = { timeout: 30_000, interval: 20 };
const shared = randomBytes(MIB);
const other = randomBytes(2 * MIB);

let dir: string;
let registry: FakeRegistry;
let place: TestPlace;
/** Hex digest of the start-up pack of `packed`. */
let pack: string;

/** Stores an image with one layer, and so one blob, for each list of files. */
async function convert(name: string, layers: { name: string; data: Buffer }[][]): Promise<void> {
  const layout = makeLayout(layers.map((files) => ({ tar: makeTar(files), compression: 'none' })));
  await convertImage({
    source: openSource(parseReference(`oci:${layout}:t`)),
    target: openTarget(parseReference(`${registry.host}/app:${name}`)),
    sourceReference: 'oci:some',
    platforms: ['linux/amd64'],
    options: { prefetch: [] },
  });
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'rafter-order-'));
  registry = await startFakeRegistry();
  await convert('first', [[{ name: 'one', data: shared }], [{ name: 'two', data: other }]]);
  const files = [
    { name: 'three', data: shared },
    { name: 'four', data: other.subarray(1) },
  ];
  await convert('second', [files]);
  const source = openSource(parseReference(`${registry.host}/app:first`));
  const { bootstrap, descriptor } = await openImage(source, { platform: 'linux/amd64' });
  const touch = { blob: 0, offset: 0, length: MIB, atMs: 0, waitedMs: 0, from: 'fetch' as const };
  const made = await optimizeImage({
    source,
    target: openTarget(parseReference(`${registry.host}/app:packed`)),
    traces: [
      {
        reference: source.name,
        manifest: descriptor.digest,
        blobs: bootstrap.blobs.map(({ id }) => id),
        driver: 'erofs',
        startedAt: '2026-01-02T03:04:05.678Z',
        touches: [touch],
      },
    ],
    tempDir: join(dir, 'tmp'),
  });
  pack = hexOf(made.pack.digest);
});
afterAll(async () => {
  await registry?.stop();
  await rm(dir, { recursive: true });
});
beforeEach(() => {
  place = createPlace();
});
afterEach(() => place.remove());

const mount = async (name: string, more: Partial<MountRequest> = {}) =>
  mountImage(place, {
    reference: `${registry.host}/app:${name}`,
    mountpoint: await place.mountpoint(name),
    platform: 'linux/amd64',
    access: {},
    ...more,
  });

/** Sum of the samples of one metric whose labels are those of `labels`. */
async function metric(name: string, labels: Record<string, string> = {}): Promise<number> {
  const body = await new Promise<string>((resolve, reject) => {
    request({ socketPath: join(place.runDir, 'rafter.sock'), path: '/metrics', agent: false }, (response) =>
      resolve(text(response)),
    )
      .on('error', reject)
      .end();
  });
  const samples = parseMetrics(body).get(name)!.samples;
  const wanted = samples.filter((sample) =>
    Object.entries(labels).every(([label, value]) => sample.labels[label] === value),
  );
  return wanted.reduce((sum, { value }) => sum + value, 0);
}

it('while a start-up pack arrives nothing is completed, but readers are served', async () => {
  let goOn = () => {};
  registry.intercept(new RegExp(`GET .*/blobs/sha256:${pack}`), (_, response) => {
    const bytes = registry.blobs.get(`sha256:${pack}`)!;
    response.writeHead(200, { 'content-length': bytes.length });
    response.write(bytes.subarray(0, bytes.length >> 1));
    goOn = () => response.end(bytes.subarray(bytes.length >> 1));
  });
  const { mountpoint } = await mount('packed', { complete: 'always' });
  await vi.waitFor(async () => expect((await listMounts(place))[0]!.completion).toBe('running'), WAIT);
  expect((await readFile(join(mountpoint, 'two'))).equals(other)).toBe(true);
  const requests = (name: string) => metric('rafter_fetch_requests_total', { class: name });
  expect(await requests('demand')).toBeGreaterThan(0);
  expect(await requests('completion')).toBe(0);
  goOn();
  await vi.waitFor(async () => expect((await listMounts(place))[0]!.completion).toBe('done'), WAIT);
  expect(await requests('completion')).toBeGreaterThan(0);
  expect((await readFile(join(mountpoint, 'one'))).equals(shared)).toBe(true);
});

it('what another image has brought is copied, which the mount and the daemon count', async () => {
  const first = await mount('first');
  await readEverything(first.mountpoint);
  const { mountpoint } = await mount('second');
  expect((await readFile(join(mountpoint, 'three'))).equals(shared)).toBe(true);
  const mounts = await listMounts(place);
  const ofSecond = mounts.find((each) => each.mountpoint === mountpoint)!;
  expect(ofSecond.stats).toMatchObject({ requests: 0, copiedBytes: MIB });
  const chunks = await metric('rafter_cache_copied_chunks_total');
  expect(chunks).toBeGreaterThan(0);
  expect((await daemonStatus(place))!.cache.stats.copied).toBe(chunks);
});
