import { randomBytes } from 'node:crypto';
import { buffer } from 'node:stream/consumers';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { type ImageReference, parseReference } from '../../src/image/reference.js';
import type { ImageSource } from '../../src/image/source.js';
import type { RegistryOptions, Traffic } from '../../src/registry/options.js';
import { RegistrySource } from '../../src/registry/source.js';
import { type FakeDfdaemon, PIECE, startFakeDfdaemon, type Trouble } from '../support/fake-dfdaemon.js';
import { answerError, type FakeRegistry, quickly, startFakeRegistry } from '../support/fake-registry.js';

const bytes = randomBytes(9 << 20);
const always = Number.POSITIVE_INFINITY;

let registry: FakeRegistry;
let peer: FakeDfdaemon;
let blob: { mediaType: string; digest: string; size: number };
let sources: ImageSource[];
let events: Traffic[];

beforeEach(async () => {
  registry = await startFakeRegistry();
  peer = await startFakeDfdaemon();
  blob = registry.addBlob(bytes);
  [sources, events] = [[], []];
});
afterEach(async () => {
  for (const source of sources) await source.close();
  await peer.stop();
  await registry.stop();
});

function open(
  options: RegistryOptions = {},
  reference: ImageReference = registry.reference(),
): RegistrySource {
  if (reference.transport !== 'registry') throw new Error('no reference to a registry');
  const source = new RegistrySource(reference, {
    env: {},
    dockerConfig: '/nonexistent/config.json',
    places: { certsDirs: [], hostsDir: '/nonexistent', registriesConf: [], registriesConfDirs: [] },
    retry: quickly,
    p2p: peer.url,
    onTraffic: (event) => events.push(event),
    ...options,
  });
  sources.push(source);
  return source;
}

const fails = () => events.flatMap((event) => (event.kind === 'peer failed' ? [event.reason] : []));
const from = (place: 'peers' | 'registry') =>
  events.reduce(
    (sum, event) => (event.kind === 'bytes' && event.from === place ? sum + event.count : sum),
    0,
  );
const readsOfRegistry = () => registry.requests.filter(({ url }) => url.includes('/blobs/'));
/** Bytes that the registry was asked for. */
const asked = () =>
  readsOfRegistry().reduce((sum, { headers }) => {
    const [, start, end] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
    return sum + (start === undefined ? blob.size : Number(end) - Number(start) + 1);
  }, 0);
async function expectRange(source: ImageSource, offset: number, length: number): Promise<Buffer> {
  const range = await source.readBlobRange(blob, offset, length);
  expect(range.equals(bytes.subarray(offset, offset + length))).toBe(true);
  return range;
}

it('reads ranges and whole blobs of the peer, with what it has to know, and costs the registry each piece once', async () => {
  const source = open();
  expect(source.pieceBytes).toBe(PIECE);
  await expectRange(source, 100, 50);
  await expectRange(source, PIECE - 10, 20);
  expect((await buffer(await source.openBlob(blob))).equals(bytes)).toBe(true);
  await source.readBlobRange(blob, 5, 5, undefined, 'completion');
  expect(asked()).toBe(bytes.length + 1);
  expect([from('peers'), from('registry')]).toEqual([50 + 20 + bytes.length + 5, 0]);
  expect(peer.requests.map(({ headers }) => headers['x-dragonfly-priority'])).toEqual(['6', '6', '3', '3']);
  const prefetched = peer.requests.map(({ headers }) => headers['x-dragonfly-prefetch']);
  expect(prefetched).toEqual([undefined, undefined, undefined, 'true']);
  expect(peer.requests[0]).toMatchObject({
    url: `/v2/team/app/blobs/${blob.digest}`,
    headers: {
      range: 'bytes=100-149',
      'x-dragonfly-registry': `http://${registry.host}`,
      'x-dragonfly-use-p2p': 'true',
      'x-dragonfly-piece-length': '4mib',
      'x-dragonfly-tag': 'rafter',
      'x-dragonfly-application': 'rafter',
      'x-dragonfly-filtered-query-params': expect.stringMatching(/X-Amz-Signature,.*X-Goog-Signature,.*sig/),
    },
  });
});

it('asks the registry itself for what peers do not pass on to each other, and for few bytes', async () => {
  const source = open();
  const small = registry.addBlob(bytes.subarray(0, PIECE));
  expect((await buffer(await source.openBlob(small))).length).toBe(PIECE);
  await source.readBlobRange(small, 10, 10);
  expect((await source.readFewBytes(blob, 20, 10)).equals(bytes.subarray(20, 30))).toBe(true);
  expect(peer.requests).toEqual([]);
  const larger = registry.addBlob(bytes.subarray(0, PIECE + 1));
  await source.readBlobRange(larger, 10, 10);
  expect(peer.requests).toHaveLength(1);
  await open({ p2pSmallBlobs: true }).readBlobRange(small, 10, 10);
  expect(peer.requests).toHaveLength(2);
});

it('asks the registry itself for manifests', async () => {
  const text = Buffer.from('{"schemaVersion":2,"manifests":[]}');
  registry.manifests.set('1', { mediaType: 'application/vnd.oci.image.index.v1+json', bytes: text });
  await open().resolve();
  expect(peer.requests).toEqual([]);
});

it('names a registry with TLS as such, and needs it for nothing that peers have', async () => {
  await expectRange(open(), 0, 10);
  const reference = parseReference('127.0.0.1:1/team/app:1');
  const range = await open({ plainHttp: false }, reference).readBlobRange(blob, 20, 10);
  expect(range.equals(bytes.subarray(20, 30))).toBe(true);
  expect(peer.requests[1]!.headers['x-dragonfly-registry']).toBe('https://127.0.0.1:1');
});

it('gives the peer the token that the registry wants, which it asks for itself', async () => {
  registry.intercept(
    /^GET \/v2\/.*\/blobs\//,
    ({ headers }, response, next) => {
      if (headers.authorization === 'Bearer t0ken') return next();
      const realm = `Bearer realm="http://${registry.host}/token",service="s"`;
      answerError(response, 401, 'UNAUTHORIZED', { 'www-authenticate': realm });
    },
    always,
  );
  registry.intercept(/^GET \/token/, (_, response) => void response.end('{"token":"t0ken"}'), always);
  const source = open({ credentials: { username: 'anna', password: 's3cret' } });
  await expectRange(source, 0, 10);
  await expectRange(source, 7_000_000, 10);
  expect(peer.requests.map(({ headers }) => headers.authorization)).toEqual([
    undefined,
    'Bearer t0ken',
    'Bearer t0ken',
  ]);
  expect(peer.requests.filter(({ url }) => url.includes('token'))).toEqual([]);
  expect([from('registry'), fails()]).toEqual([0, []]);
});

it('takes a refusal for the registry’s own, asks that, and goes on with the peer', async () => {
  const source = open();
  const other = { ...blob, digest: `sha256:${'0'.repeat(64)}` };
  await expect(source.readBlobRange(other, 0, 10)).rejects.toMatchObject({ code: 'NOT_FOUND', status: 404 });
  await expectRange(source, 0, 10);
  expect([from('peers'), fails()]).toEqual([10, []]);
});

describe('a peer that fails', () => {
  const reasons = { error: 'error', hang: 'unreachable', cut: 'broken' } as const;

  it.each(Object.entries(reasons))('is done without: %s', async (trouble, reason) => {
    // On a busy machine the registry, which has the same limit, takes long, too.
    const source = open(trouble === 'hang' ? { timeouts: { answerMs: 1000 } } : {});
    peer.trouble = trouble as Trouble;
    await expectRange(source, 1000, 1_000_000);
    expect(fails()).toEqual([reason]);
    expect(source.pieceBytes).toBeUndefined();
    const before = peer.requests.length;
    await expectRange(source, 3_000_000, 10);
    expect(peer.requests).toHaveLength(before);
  });

  it('is done without: its bytes trickle', async () => {
    // Bytes come far more often than that: it is never silent so long.
    const source = open({ timeouts: { idleMs: 2000 } });
    peer.trouble = 'trickle';
    await expectRange(source, 1000, 1_000_000);
    expect(fails()).toEqual(['slow']);
    expect(from('peers')).toBeGreaterThan(0);
    expect(from('peers') + from('registry')).toBe(1_000_000);
    expect(asked()).toBeLessThan(bytes.length);
    peer.trouble = undefined;
    const events = fails().length;
    expect((await buffer(await source.openBlob(blob))).equals(bytes)).toBe(true);
    expect(fails()).toHaveLength(events);
  });

  it('goes on from the registry with a whole blob that trickles', async () => {
    peer.trouble = 'trickle';
    const source = open({ timeouts: { idleMs: 2000 } });
    expect((await buffer(await source.openBlob(blob))).equals(bytes)).toBe(true);
    expect(fails()).toEqual(['slow']);
    expect(from('peers') + from('registry')).toBe(bytes.length);
  });

  it('is done without: nobody listens', async () => {
    const source = open({ p2p: 'http://127.0.0.1:1' });
    await expectRange(source, 1000, 1_000_000);
    expect([fails(), from('registry')]).toEqual([['unreachable'], 1_000_000]);
  });

  it('goes on with a whole blob where it broke off', async () => {
    peer.trouble = 'cut';
    const source = open();
    expect((await buffer(await source.openBlob(blob))).equals(bytes)).toBe(true);
    expect(fails()).toEqual(['broken']);
    expect(from('peers') + from('registry')).toBe(bytes.length);
  });

  it('is asked again when a probe went well, which no reader waits for', async () => {
    peer.trouble = 'error';
    const source = open();
    await expectRange(source, 0, 10);
    peer.trouble = undefined;
    await vi.waitFor(
      async () => {
        await expectRange(source, 20, 10);
        expect(from('peers')).toBeGreaterThan(0);
      },
      { timeout: 20_000, interval: 50 },
    );
    const probe = peer.requests[1]!.headers;
    expect([probe.range, probe['x-dragonfly-priority']]).toEqual(['bytes=20-20', '3']);
    expect(probe['x-dragonfly-prefetch']).toBeUndefined();
    expect(source.pieceBytes).toBe(PIECE);
  });

  it('with wrong bytes is counted and set aside, and the next read is right', async () => {
    peer.trouble = 'wrong';
    const source = open();
    const range = await source.readBlobRange(blob, 0, 1000);
    expect(range.equals(bytes.subarray(0, 1000))).toBe(false);
    source.distrust(range);
    await expectRange(source, 0, 1000);
    expect([fails(), from('registry')]).toEqual([['wrong bytes'], 1000]);
    expect(peer.requests).toHaveLength(1);
  });
});

it('is asked for each read, although the registry redirects when the peer is away', async () => {
  registry.intercept(
    /^GET \/v2\/.*\/blobs\//,
    ({ url }, response) =>
      void response.writeHead(307, { location: url.replace('/v2/', '/v2/moved/') }).end(),
    1,
  );
  peer.trouble = 'error';
  const source = open();
  await expectRange(source, 0, 10);
  peer.trouble = undefined;
  await vi.waitFor(
    async () => {
      await expectRange(source, 0, 10);
      expect(from('peers')).toBeGreaterThan(0);
    },
    { timeout: 20_000, interval: 50 },
  );
});

it.each(['127.0.0.1:4001', 'ftp://a', 'http://a/path', 'http://user:pass@a', 'http://a?b'])(
  'refuses %s as the URL of a peer',
  (p2p) => {
    expect(() => open({ p2p })).toThrow('the Dragonfly peer must be given as http://HOST:PORT');
  },
);
