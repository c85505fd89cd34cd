import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST } from '../../src/image/media-types.js';
import { parseReference } from '../../src/image/reference.js';
import { mountImage } from '../../src/mount/client/client.js';
import { headBlob, openBlob, readBlobRange } from '../../src/registry/blobs.js';
import { getManifest, putManifest } from '../../src/registry/manifests.js';
import type { RegistryOptions } from '../../src/registry/options.js';
import { openSession, type Session } from '../../src/registry/session.js';
import { copyImage } from '../../src/transports/copy.js';
import { openSource, openTarget } from '../../src/transports/open.js';
import { createPlace, readEverything } from '../mount/daemon-process.js';
import { expectedTree } from '../mount/golden-tree.js';
import { writeGoldenLayout } from '../mount/layouts.js';
import { goldenTree } from '../rafs/golden.js';
import {
  cutAfter,
  type FakeRegistry,
  failWith,
  type Handler,
  hangUp,
  quickly,
  startFakeRegistry,
} from '../support/fake-registry.js';
import { compareTrees, readTree } from '../support/tree.js';

const always = Number.POSITIVE_INFINITY;
const mediaType = 'application/vnd.oci.image.index.v1+json';
const manifest = Buffer.from('{"schemaVersion":2,"manifests":[]}');
const stored = {
  bytes: manifest,
  descriptor: { mediaType, digest: ociDigest(manifest), size: manifest.length },
};
const bytes = Buffer.from(Array.from({ length: 100_000 }, (_, i) => (i * 7919) & 0xff));

let directory: string;
let origin: FakeRegistry;
let first: FakeRegistry;
let second: FakeRegistry;
let blob: { digest: string; size: number };
let sessions: Session[];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-mirrors-'));
  sessions = [];
  [origin, first, second] = (await Promise.all([1, 2, 3].map(() => startFakeRegistry()))) as [
    FakeRegistry,
    FakeRegistry,
    FakeRegistry,
  ];
  for (const registry of [origin, first, second]) {
    registry.manifests.set('1', { mediaType, bytes: manifest });
    registry.manifests.set(stored.descriptor.digest, { mediaType, bytes: manifest });
    blob = registry.addBlob(bytes);
  }
});
afterEach(async () => {
  for (const session of sessions) await session.close();
  await Promise.all([origin, first, second].map((registry) => registry.stop()));
  rmSync(directory, { recursive: true, force: true });
});

function hostsToml(text: string): void {
  const path = join(directory, 'hosts', origin.host);
  mkdirSync(path, { recursive: true });
  writeFileSync(join(path, 'hosts.toml'), text);
}
const twoMirrors = () => hostsToml(`[host."http://${first.host}"]\n[host."http://${second.host}"]\n`);

function open(options: RegistryOptions = {}): Session {
  const session = openSession(origin.reference(), {
    dockerConfig: join(directory, 'config.json'),
    env: { HOME: directory },
    places: {
      certsDirs: [],
      hostsDir: join(directory, 'hosts'),
      registriesConf: [join(directory, 'registries.conf')],
      registriesConfDirs: [],
    },
    retry: quickly,
    ...options,
  });
  sessions.push(session);
  return session;
}
/** How many requests each of first, second and the registry got. */
const counts = () => [first, second, origin].map(({ requests }) => requests.length);

async function readAll(session: Session): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of await openBlob(session, blob)) pieces.push(piece as Buffer);
  return Buffer.concat(pieces);
}

describe('reads', () => {
  it('go to the first mirror, which is told whose mirror it is', async () => {
    twoMirrors();
    const session = open();
    expect((await getManifest(session, '1')).bytes).toEqual(manifest);
    expect(await readAll(session)).toEqual(bytes);
    expect(counts()).toEqual([2, 0, 0]);
    for (const { url, headers } of first.requests) {
      expect(url).toContain(`?ns=${encodeURIComponent(origin.host)}`);
      expect(headers['oci-namespace']).toBe(origin.host);
    }
    await putManifest(session, '2', stored);
    expect(origin.requests[0]!.url).not.toContain('ns=');
    expect(origin.requests[0]!.headers).not.toHaveProperty('oci-namespace');
  });

  it.each([
    ['it is down', hangUp],
    ['it has an error', failWith(500)],
    ['it wants a log-in', failWith(401, 'UNAUTHORIZED')],
    ['it does not have it', failWith(404, 'MANIFEST_UNKNOWN')],
    ['it is too busy', failWith(429, 'TOOMANYREQUESTS', { 'retry-after': '1000' })],
  ])('go to the next when %s, to the registry last', async (_, handler) => {
    twoMirrors();
    first.intercept(/./, handler, always);
    expect((await getManifest(open(), '1')).bytes).toEqual(manifest);
    expect(counts().slice(1)).toEqual([1, 0]);
    second.intercept(/./, handler, always);
    expect((await getManifest(open(), '1')).bytes).toEqual(manifest);
    expect(counts().slice(1)).toEqual([2, 1]);
  });

  it('go on in the middle of a blob with the next mirror, then with the registry', async () => {
    twoMirrors();
    first.intercept(/ \/v2\/.*blobs/, cutAfter(first, 30_000), always);
    second.intercept(/ \/v2\/.*blobs/, cutAfter(second, 20_000), always);
    expect(await readAll(open())).toEqual(bytes);
    const ranges = [first, second, origin].map(({ requests }) =>
      requests.map(({ headers }) => headers.range),
    );
    expect(ranges[0]).toEqual([undefined]);
    expect(ranges[1]![0]).toMatch(/^bytes=\d+-99999$/);
    expect(ranges[2]![0]).toMatch(/^bytes=\d+-99999$/);
  });

  it('of a range go on where the mirror broke off', async () => {
    twoMirrors();
    first.intercept(/ \/v2\/.*blobs/, cutAfter(first, 1000), always);
    const session = open();
    const range = { offset: 5000, length: 50_000 };
    expect(await readBlobRange(session, blob, range)).toEqual(bytes.subarray(5000, 55_000));
    expect(await readBlobRange(session, blob, range)).toEqual(bytes.subarray(5000, 55_000));
    expect(counts()).toEqual([1, 2, 0]);
  });

  it('do not believe a mirror that answers with other bytes', async () => {
    twoMirrors();
    first.intercept(/manifests/, (_, response) => void response.end('{"schemaVersion":2}'), always);
    const session = open();
    const { digest } = stored.descriptor;
    expect((await getManifest(session, digest)).bytes).toEqual(manifest);
    first.intercept(
      /blobs/,
      (_, response) =>
        void response.writeHead(206, { 'content-range': 'bytes 0-9/100000' }).end(Buffer.alloc(10)),
      always,
    );
    const other = open();
    expect(await readBlobRange(other, blob, { offset: 10, length: 10 })).toEqual(bytes.subarray(10, 20));
  });

  it('of a whole blob that was wrong at its end go elsewhere when they are repeated', async () => {
    twoMirrors();
    const wrong = Buffer.from(bytes);
    wrong[50_000]! ^= 1;
    first.intercept(/blobs/, (_, response) => void response.end(wrong), always);
    const session = open();
    await expect(readAll(session)).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
    expect(await readAll(session)).toEqual(bytes);
    expect(counts()).toEqual([1, 1, 0]);
  });

  it('do not ask a mirror for what it is not there for', async () => {
    hostsToml(
      `[host."http://${first.host}"]\ncapabilities = ["pull"]\n[host."http://${second.host}"]\ncapabilities = ["resolve"]\n`,
    );
    const session = open();
    await getManifest(session, '1');
    expect(counts()).toEqual([0, 1, 0]);
    await getManifest(session, stored.descriptor.digest);
    await readAll(session);
    expect(counts()).toEqual([2, 1, 0]);
  });

  it('say what the registry says when nobody has it, and what a mirror did when nobody answers', async () => {
    twoMirrors();
    for (const registry of [first, second, origin]) registry.manifests.delete('1');
    await expect(getManifest(open(), '1')).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining(origin.host),
    });
    await origin.stop();
    first.intercept(/./, failWith(500), always);
    second.intercept(/./, failWith(403, 'DENIED'), always);
    await expect(getManifest(open(), '1')).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining(origin.host),
      hint: expect.stringContaining(second.host),
    });
    origin = await startFakeRegistry();
  });

  it('come back to a mirror that failed when the registry cannot be reached', async () => {
    twoMirrors();
    const session = open();
    first.intercept(/./, failWith(500), 1);
    second.intercept(/./, failWith(500), 1);
    origin.intercept(/./, hangUp, always);
    expect((await getManifest(session, '1')).bytes).toEqual(manifest);
  });
});

it('writes only to the registry, whatever mirrors say that they can', async () => {
  twoMirrors();
  const session = open();
  await putManifest(session, '2', stored);
  expect(await headBlob(session, blob.digest, { access: 'push' })).toEqual({ size: bytes.length });
  expect(counts()).toEqual([0, 0, 2]);
});

it('gives each host its own log-in and its own headers', async () => {
  const auth = (user: string) => ({ auth: Buffer.from(`${user}:pw-${user}`).toString('base64') });
  const config = { auths: { [first.host]: auth('mirror'), [origin.host]: auth('file') } };
  writeFileSync(join(directory, 'config.json'), JSON.stringify(config));
  hostsToml(`[host."http://${first.host}"]
[host."http://${first.host}".header]
x-key = "of the first"
[host."http://${second.host}"]
`);
  for (const registry of [first, second, origin]) {
    registry.intercept(
      /./,
      (request, response, next) =>
        registry !== second && request.headers.authorization !== undefined
          ? next()
          : void response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(),
      always,
    );
  }
  const session = open({ credentials: { username: 'given', password: 'pw-given' } });
  await getManifest(session, '1');
  await putManifest(session, '2', stored);
  first.intercept(/./, failWith(500), always);
  await getManifest(session, '1');
  const seen = (registry: FakeRegistry) =>
    new Set(registry.requests.map(({ headers }) => `${headers.authorization} ${headers['x-key']}`));
  const basic = (user: string) => `Basic ${auth(user).auth}`;
  expect(seen(first)).toEqual(new Set(['undefined of the first', `${basic('mirror')} of the first`]));
  expect(seen(second)).toEqual(new Set(['undefined undefined']));
  expect(seen(origin)).toEqual(new Set(['undefined undefined', `${basic('given')} undefined`]));
});

it.each([
  ['a layout', 3 << 20],
  ['a layout', 1000],
  ['a registry', 3 << 20],
])('copies to %s from the registry what both mirrors have wrong, %i bytes', async (kind, size) => {
  twoMirrors();
  vi.stubEnv('RAFTER_HOSTS_DIR', join(directory, 'hosts'));
  const right = Buffer.alloc(size, 'right');
  const layer = { ...origin.addBlob(right), mediaType: OCI_LAYER_GZIP };
  const config = { ...origin.addBlob(Buffer.from('{}')), mediaType: OCI_CONFIG };
  const image = Buffer.from(
    JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer] }),
  );
  origin.manifests.set('image', { mediaType: OCI_MANIFEST, bytes: image });
  for (const mirror of [first, second]) {
    mirror.manifests.set('image', { mediaType: OCI_MANIFEST, bytes: image });
    mirror.blobs.set(config.digest, Buffer.from('{}')).set(layer.digest, Buffer.alloc(size, 'wrong'));
  }
  const other = await startFakeRegistry();
  const source = openSource(origin.reference('team/app:image'));
  try {
    const path = join(directory, 'copied');
    const isLayout = kind === 'a layout';
    const target = isLayout ? parseReference(`oci:${path}:x`) : other.reference('team/app:image');
    const progress: number[] = [];
    await copyImage(source, openTarget(target), { onProgress: ({ done }) => progress.push(done) });
    const copied = isLayout
      ? await readFile(join(path, 'blobs/sha256', layer.digest.slice(7)))
      : other.blobs.get(layer.digest);
    expect(copied?.equals(right)).toBe(true);
    expect([Math.max(...progress), progress.at(-1)]).toEqual([size + 2, size + 2]);
  } finally {
    vi.unstubAllEnvs();
    await Promise.all([source.close(), other.stop()]);
  }
});

it('finds another name of the repository by registries.conf', async () => {
  writeFileSync(
    join(directory, 'registries.conf'),
    `[[registry]]
prefix = "${origin.host}/team"
location = "${origin.host}/moved/team"
[[registry.mirror]]
location = "${first.host}/cache"
`,
  );
  const session = open();
  await getManifest(session, '1');
  expect(first.requests.map(({ url }) => url)).toEqual(['/v2/cache/app/manifests/1']);
  await putManifest(session, '2', stored);
  expect(origin.requests.map(({ url }) => url)).toEqual(['/v2/moved/team/app/manifests/2']);
});

it('speaks plain HTTP to a server that registries.conf calls insecure, once TLS is seen to be missing', async () => {
  const port = origin.host.split(':')[1];
  // Not a name of this machine by itself, so nothing but the file allows HTTP.
  const host = `0.0.0.0:${port}`;
  const reference = { ...origin.reference(), registry: host };
  const read = async () => {
    const session = openSession(reference, {
      env: { HOME: directory },
      dockerConfig: join(directory, 'config.json'),
      places: { certsDirs: [], registriesConf: [join(directory, 'registries.conf')], registriesConfDirs: [] },
      retry: quickly,
    });
    sessions.push(session);
    return (await getManifest(session, '1')).bytes;
  };
  await expect(read()).rejects.toMatchObject({ hint: expect.stringContaining('--plain-http') });
  writeFileSync(join(directory, 'registries.conf'), `[[registry]]\nlocation = "${host}"\ninsecure = true\n`);
  expect(await read()).toEqual(manifest);
});

it('reads a mounted image from the registry once both mirrors gave wrong bytes, and does not ask those again', async () => {
  twoMirrors();
  const layout = join(directory, 'layout');
  await writeGoldenLayout('full', layout);
  const source = openSource(parseReference(`oci:${layout}:latest`));
  await copyImage(source, openTarget(origin.reference('full:1')));
  for (const mirror of [first, second]) {
    for (const [digest, content] of origin.blobs) mirror.blobs.set(digest, content);
    for (const [name, content] of origin.manifests) mirror.manifests.set(name, content);
  }
  const place = createPlace();
  process.env.RAFTER_HOSTS_DIR = join(directory, 'hosts');
  try {
    const reference = `${origin.host}/full:1`;
    const { mountpoint } = await mountImage(place, { reference, mountpoint: await place.mountpoint('m') });
    for (const registry of [first, second, origin]) registry.requests.length = 0;
    const spoil: Handler = ({ url, headers }, response) => {
      const whole = first.blobs.get(`sha256:${/[0-9a-f]{64}/.exec(url)![0]}`)!;
      const [start, last] = /^bytes=(\d+)-(\d+)$/.exec(headers.range!)!.slice(1).map(Number) as [
        number,
        number,
      ];
      response.writeHead(206, { 'content-range': `bytes ${start}-${last}/${whole.length}` });
      response.end(whole.subarray(start, last + 1).map((byte) => byte ^ 1));
    };
    for (const mirror of [first, second]) mirror.intercept(/blobs/, spoil, always);
    const file = goldenTree('full').find(({ type, size }) => type === 'file' && size === 4097)!;
    expect(await readFile(join(mountpoint, file.path!))).toHaveLength(4097);
    expect(counts()).toEqual([1, 1, 1]);
    await readEverything(mountpoint);
    expect(compareTrees(expectedTree('full'), await readTree(mountpoint))).toEqual([]);
    expect(counts()).toEqual([1, 1, expect.any(Number)]);
  } finally {
    delete process.env.RAFTER_HOSTS_DIR;
    await place.remove();
  }
});
