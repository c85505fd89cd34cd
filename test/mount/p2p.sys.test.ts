import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { convertImage } from '../../src/convert/convert.js';
import { parseReference } from '../../src/image/reference.js';
import { listMounts, mountImage } from '../../src/mount/client/client.js';
import type { Traffic } from '../../src/registry/options.js';
import { RegistrySource } from '../../src/registry/source.js';
import { openSource, openTarget } from '../../src/transports/open.js';
import { makeLayout } from '../convert/layouts.js';
import { makeTar } from '../convert/tar-writer.js';
import { type DragonflyCluster, startDragonfly } from '../support/dragonfly-cluster.js';
import { type FakeRegistry, quickly, startFakeRegistry } from '../support/fake-registry.js';
import { peer } from '../support/programs.js';
import { createPlace } from './daemon-process.js';

const PIECE = 4 << 20;
/** Of a file that is in pieces, and of one whose blob peers do not pass on. */
const [LARGE, SMALL] = [randomBytes(2 * PIECE + 1_000_000), randomBytes(1_000_000)];
const [scheduler, dfdaemon] = [peer('scheduler'), peer('dfdaemon')];

let registry: FakeRegistry;
let cluster: DragonflyCluster;

beforeAll(async () => {
  if (scheduler === undefined || dfdaemon === undefined) return;
  registry = await startFakeRegistry();
  const layers = Object.entries({ large: LARGE, small: SMALL });
  const layout = makeLayout(layers.map(([name, data]) => ({ tar: makeTar([{ name, data }]) })));
  await convertImage({
    source: openSource(parseReference(`oci:${layout}:t`)),
    target: openTarget(parseReference(`${registry.host}/team/app:1`)),
    sourceReference: 'oci:some',
    platforms: ['linux/amd64'],
    options: { prefetch: [] },
  });
  cluster = await startDragonfly({ scheduler, dfdaemon }, `http://${registry.host}`);
}, 60_000);
afterAll(async () => {
  await cluster?.stop();
  await registry?.stop();
});
beforeEach((ctx) => {
  if (scheduler === undefined || dfdaemon === undefined)
    ctx.skip('RAFTER_PEERS does not name a folder with dfdaemon and scheduler');
  registry.requests.length = 0;
});

/** Bytes of blobs that the registry was asked for. */
const asked = () =>
  registry.requests.reduce((sum, { method, url, headers }) => {
    const blob = registry.blobs.get(/\/blobs\/(.*)$/.exec(url)?.[1] ?? '');
    if (method !== 'GET' || blob === undefined) return sum;
    const [, start, end] = /^bytes=(\d+)-(\d*)$/.exec(headers.range ?? '') ?? [];
    if (start === undefined) return sum + blob.length;
    return sum + Math.min(Number(end || blob.length), blob.length - 1) - Number(start) + 1;
  }, 0);

/** Mounts the image on a node of its own, reads all of it, and gives what was counted. */
async function mountOnce(p2p: string) {
  const place = createPlace();
  try {
    const { mountpoint } = await mountImage(place, {
      reference: `${registry.host}/team/app:1`,
      mountpoint: await place.mountpoint('m'),
      platform: 'linux/amd64',
      access: { p2p },
    });
    expect((await readFile(join(mountpoint, 'large'))).equals(LARGE)).toBe(true);
    expect((await readFile(join(mountpoint, 'small'))).equals(SMALL)).toBe(true);
    const [mounted] = await listMounts(place);
    return { stats: mounted!.stats, log: await readFile(join(place.runDir, 'daemon.log'), 'utf8') };
  } finally {
    await place.remove();
  }
}

/** A new blob in the registry, and a source that reads it through the cluster. */
function newBlob(size: number, p2p = cluster.url) {
  const bytes = randomBytes(size);
  const events: Traffic[] = [];
  const source = new RegistrySource(registry.reference(), {
    env: {},
    dockerConfig: '/nonexistent/config.json',
    places: { certsDirs: [], hostsDir: '/nonexistent', registriesConf: [], registriesConfDirs: [] },
    retry: quickly,
    p2p,
    onTraffic: (event) => events.push(event),
  });
  const from = (place: 'peers' | 'registry') =>
    events.reduce(
      (sum, event) => (event.kind === 'bytes' && event.from === place ? sum + event.count : sum),
      0,
    );
  const fails = () => events.flatMap((event) => (event.kind === 'peer failed' ? [event.reason] : []));
  return { bytes, blob: registry.addBlob(bytes), source, from, fails };
}

it('mounts through a cold cluster with each byte once from the registry, and through a warm one with what peers do not pass on', async () => {
  const sizes = [...registry.blobs.values()].map(({ length }) => length);
  const sum = (some: number[]) => some.reduce((all, size) => all + size, 0);
  const small = sum(sizes.filter((size) => size <= PIECE));
  // What dfdaemon asks to know the size of a blob is a byte each time.
  const heads = 10 * sizes.length;
  const cold = await mountOnce(cluster.url);
  expect(cold.stats.peerBytes).toBeGreaterThanOrEqual(LARGE.length);
  expect(cold.stats.registryBytes).toBeLessThanOrEqual(small);
  expect(asked()).toBeLessThanOrEqual(sum(sizes) + heads);
  registry.requests.length = 0;
  const warm = await mountOnce(cluster.url);
  expect(warm.stats.registryBytes).toBeLessThanOrEqual(small);
  expect(asked()).toBeLessThanOrEqual(small + heads);
  expect(registry.requests.some(({ url }) => url.includes('/manifests/'))).toBe(true);
});

it('takes its windows for the pieces that Dragonfly has', async () => {
  const { blob, bytes, source } = newBlob(3 * PIECE);
  try {
    expect(source.pieceBytes).toBe(PIECE);
    const range = await source.readBlobRange(blob, PIECE + 5, PIECE - 10);
    expect(range.equals(bytes.subarray(PIECE + 5, 2 * PIECE - 5))).toBe(true);
    expect(asked()).toBeGreaterThanOrEqual(PIECE);
    expect(asked()).toBeLessThanOrEqual(PIECE + 10);
    expect((await buffer(await source.openBlob(blob))).equals(bytes)).toBe(true);
    expect(asked()).toBeLessThanOrEqual(3 * PIECE + 20);
  } finally {
    await source.close();
  }
});

it('mounts from the registry when a peer gives wrong bytes, and counts that', async () => {
  const liar = createServer(async (incoming, response) => {
    const answer = await fetch(`${cluster.url}${incoming.url}`, { headers: incoming.headers as never });
    const bytes = Buffer.from(await answer.arrayBuffer());
    if (bytes.length > 0) bytes[bytes.length >> 1]! ^= 1;
    const range = answer.headers.get('content-range');
    response.writeHead(answer.status, { ...(range !== null && { 'content-range': range }) }).end(bytes);
  });
  liar.listen(0, '127.0.0.1');
  await once(liar, 'listening');
  try {
    const { stats, log } = await mountOnce(`http://127.0.0.1:${(liar.address() as AddressInfo).port}`);
    expect(stats.registryBytes).toBeGreaterThan(0);
    expect(log).toContain('wrong bytes');
  } finally {
    liar.close();
    liar.closeAllConnections();
  }
});

it('reads on when the scheduler dies', async () => {
  const { blob, bytes, source } = newBlob(2 * PIECE);
  try {
    await cluster.kill('scheduler');
    const range = await source.readBlobRange(blob, 1000, 1_000_000);
    expect(range.equals(bytes.subarray(1000, 1_001_000))).toBe(true);
  } finally {
    await source.close();
  }
});

it('reads on from the registry when the peer dies in the middle of a blob', async () => {
  const { blob, bytes, source, from, fails } = newBlob(4 * PIECE);
  try {
    const parts: Buffer[] = [];
    for await (const part of (await source.openBlob(blob)) as AsyncIterable<Buffer>) {
      if (parts.length === 0) await cluster.kill('peer');
      parts.push(part);
    }
    expect(Buffer.concat(parts).equals(bytes)).toBe(true);
    expect(fails()).toHaveLength(1);
    expect(from('peers') + from('registry')).toBe(bytes.length);
    const range = await source.readBlobRange(blob, 10, 10);
    expect(range.equals(bytes.subarray(10, 20))).toBe(true);
    expect(fails()).toHaveLength(1);
  } finally {
    await source.close();
  }
});
