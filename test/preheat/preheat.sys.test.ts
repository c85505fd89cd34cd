import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as v from 'valibot';
import { afterAll, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { preheated } from '../../src/cli/json/node.js';
import { OCI_MANIFEST } from '../../src/image/media-types.js';
import { parseReference } from '../../src/image/reference.js';
import type { ImageSource } from '../../src/image/source.js';
import { profileManifest } from '../../src/image/startup-profile.js';
import { openImage } from '../../src/inspect/open-image.js';
import { attachProfile } from '../../src/optimize/attach.js';
import { optimizeImage } from '../../src/optimize/optimize.js';
import { formatProfile } from '../../src/startup/profile.js';
import type { Trace } from '../../src/trace/trace.js';
import { copyImage } from '../../src/transports/copy.js';
import { openSource, openTarget } from '../../src/transports/open.js';
import { writeGoldenLayout } from '../mount/layouts.js';
import { type DragonflyCluster, startDragonfly } from '../support/dragonfly-cluster.js';
import { type FakeDfdaemon, startFakeDfdaemon } from '../support/fake-dfdaemon.js';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.js';
import { runInProcess } from '../support/in-process.js';
import { peer as program } from '../support/programs.js';

let dir: string;
let registry: FakeRegistry;
let dfdaemon: FakeDfdaemon;

beforeAll(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-preheat-'));
  vi.stubEnv('RAFTER_CONFIG', '/dev/null');
  vi.stubEnv('DOCKER_CONFIG', dir);
  registry = await startFakeRegistry();
  await writeGoldenLayout('small', join(dir, 'layout'));
  await copy('app:plain');
  await optimize('app:fast');
});
afterAll(async () => {
  vi.unstubAllEnvs();
  await registry?.stop();
  if (dir !== undefined) rmSync(dir, { recursive: true, force: true });
});
beforeEach(async () => {
  registry.requests.length = 0;
  dfdaemon = await startFakeDfdaemon();
  return () => dfdaemon.stop();
});

const layout = () => openSource(parseReference(`oci:${join(dir, 'layout')}:latest`));
const target = (name: string) => openTarget(parseReference(`${registry.host}/team/${name}`));

async function copy(name: string): Promise<void> {
  const source = layout();
  await copyImage(source, target(name));
  await source.close();
}

/** A run of the image that read the first bytes of its first blob. */
async function traceOf(source: ImageSource): Promise<Trace> {
  const { bootstrap, descriptor } = await openImage(source);
  return {
    reference: source.name,
    manifest: descriptor.digest,
    blobs: bootstrap.blobs.map(({ id }) => id),
    driver: 'erofs',
    startedAt: '2026-01-02T03:04:05.678Z',
    touches: [{ blob: 0, offset: 0, length: 4096, atMs: 0, waitedMs: 0, from: 'local' }],
  };
}

/** The image with a start-up pack of the first bytes of its first blob. */
async function optimize(name: string): Promise<void> {
  const source = layout();
  await optimizeImage({
    source,
    target: target(name),
    traces: [await traceOf(source)],
    tempDir: join(dir, 'tmp'),
  });
}

/** Runs `rafter preheat` in this process. */
async function preheat(...args: string[]) {
  const { code, stdout, stderr } = await runInProcess(['preheat', '--json', ...args]);
  const result = code === 0 ? v.parse(preheated, JSON.parse(stdout)) : undefined;
  return { code, result, error: code === 0 ? undefined : JSON.parse(stderr).error };
}

const image = (name: string) => `${registry.host}/team/${name}`;
/** Layers of the image, the bootstrap last. */
function layersOf(tag: string): { digest: string; size: number; annotations?: Record<string, string> }[] {
  return JSON.parse(registry.manifests.get(tag)!.bytes.toString()).layers;
}
const throughPeer = () => dfdaemon.requests.map(({ url }) => url.slice(url.lastIndexOf('/') + 1));

it('reads the start-up pack whole, with configuration and bootstrap, and no other data', async () => {
  const { result } = await preheat('--p2p', dfdaemon.url, image('app:fast'));
  const layers = layersOf('fast');
  const digests = result!.blobs.map(({ digest }) => digest);
  expect(digests.slice(1).toSorted()).toEqual(
    layers
      .slice(-2)
      .map(({ digest }) => digest)
      .toSorted(),
  );
  expect(new Set(throughPeer())).toEqual(new Set(digests));
  expect(dfdaemon.requests.every(({ headers }) => headers.range === undefined)).toBe(true);
  const pack = dfdaemon.requests.find(({ url }) => url.endsWith(layers.at(-2)!.digest));
  expect(pack!.headers['x-dragonfly-priority']).toBe('6');
  expect(result).toMatchObject({ peer: dfdaemon.url, all: false, presentBytes: 0 });
  expect(result!.broughtBytes).toBe(result!.bytes);
});

it('reads every blob with --all', async () => {
  const { result } = await preheat('--all', '--p2p', dfdaemon.url, image('app:plain'));
  const wanted = layersOf('plain').map(({ digest }) => digest);
  expect(throughPeer()).toEqual(expect.arrayContaining(wanted));
  expect(result!.blobs).toHaveLength(wanted.length + 1);
});

it('reads the blobs that an attached profile names, and says if it is wrong', async () => {
  await copy('app:hinted');
  const bare = (await preheat('--p2p', dfdaemon.url, image('app:hinted'))).result!;
  const source = openSource(parseReference(image('app:hinted')));
  const attach = (trace: Trace) =>
    attachProfile({
      source,
      openTarget: () => target('app:hinted'),
      traces: [trace],
      tempDir: join(dir, 'tmp'),
    });
  const trace = await traceOf(source);
  await attach(trace);
  const { result } = await preheat('--p2p', dfdaemon.url, image('app:hinted'));
  const [named] = layersOf('hinted').filter(({ digest }) => digest.endsWith(trace.blobs[0]!));
  expect(bare.blobs).not.toContainEqual(expect.objectContaining({ digest: named!.digest }));
  expect(result!.blobs).toEqual([...bare.blobs, { digest: named!.digest, size: named!.size }]);
  expect(result!.warnings).toEqual([]);

  const wrong = formatProfile({ blobs: ['ab'], chunks: [{ blob: 0, first: 0, count: 1 }] });
  const subject = await source.resolve();
  const bytes = profileManifest(wrong, { subject, createdAt: new Date('2100-01-01') });
  registry.addBlob(wrong);
  const into = target('app:hinted');
  await into.putManifest(bytes, OCI_MANIFEST, { tag: false });
  await into.commit();
  await source.close();
  const { result: without } = await preheat('--p2p', dfdaemon.url, image('app:hinted'));
  expect(without!.blobs).toEqual(bare.blobs);
  expect(without!.warnings).toEqual([expect.stringContaining('names blobs that the image has not')]);
});

it('counts what the peer says that it has', async () => {
  dfdaemon.isFinished = true;
  const { result } = await preheat('--p2p', dfdaemon.url, image('app:fast'));
  expect([result!.presentBytes, result!.broughtBytes]).toEqual([result!.bytes, 0]);
});

it.each(['error', 'wrong', 'cut'] as const)('is an error if the peer does not serve: %s', async (trouble) => {
  dfdaemon.trouble = trouble;
  const { code, error } = await preheat('--all', '--p2p', dfdaemon.url, image('app:fast'));
  expect(code).not.toBe(0);
  expect(['UNAVAILABLE', 'DIGEST_MISMATCH']).toContain(error.code);
});

it('says what it needs: a peer, an image of a registry, a converted image', async () => {
  expect(await preheat(image('app:fast'))).toMatchObject({
    code: 2,
    error: { message: 'there is no Dragonfly peer to preheat', hint: /^name one with --p2p/ },
  });
  expect(await preheat('--p2p', dfdaemon.url, `oci:${dir}/layout:latest`)).toMatchObject({
    code: 2,
    error: { message: expect.stringContaining('only images in registries') },
  });
  const { bytes } = registry.manifests.get('plain')!;
  const { annotations: _, layers, ...manifest } = JSON.parse(bytes.toString());
  const plain = layers.map(({ annotations: __, ...layer }: Record<string, unknown>) => layer);
  const mediaType = 'application/vnd.oci.image.manifest.v1+json';
  registry.manifests.set('ordinary', {
    mediaType,
    bytes: Buffer.from(JSON.stringify({ ...manifest, layers: plain })),
  });
  expect(await preheat('--p2p', dfdaemon.url, image('app:ordinary'))).toMatchObject({ code: 6 });
});

it('brings an image into a real cluster: another node has its data without the registry', async (ctx) => {
  const [scheduler, client] = [program('scheduler'), program('dfdaemon')];
  if (scheduler === undefined || client === undefined)
    return ctx.skip('RAFTER_PEERS does not name a folder with dfdaemon and scheduler');
  let cluster: DragonflyCluster | undefined;
  try {
    cluster = await startDragonfly({ scheduler, dfdaemon: client }, `http://${registry.host}`, { peers: 2 });
    // Smaller blobs Dragonfly never passes on from peer to peer.
    const large = registry.addBlob(randomBytes(9 << 20));
    const { mediaType, bytes } = registry.manifests.get('plain')!;
    const { layers, ...manifest } = JSON.parse(bytes.toString());
    layers.unshift({ ...layers[0], ...large, mediaType: layers[0].mediaType });
    registry.manifests.set('large', {
      mediaType,
      bytes: Buffer.from(JSON.stringify({ ...manifest, layers })),
    });
    const [first, second] = cluster.urls as [string, string];
    const { result } = await preheat('--all', '--p2p', first, image('app:large'));
    expect(result!.broughtBytes).toBe(result!.bytes);
    const again = await preheat('--all', '--p2p', first, image('app:large'));
    expect(again.result!.presentBytes).toBe(result!.bytes);
    registry.requests.length = 0;
    await preheat('--all', '--p2p', second, image('app:large'));
    const asked = registry.requests.filter(({ url }) => url.endsWith(large.digest));
    // To know the size of a blob a peer asks for its first byte.
    expect(asked.map(({ headers }) => headers.range)).toEqual(['bytes=0-0']);
  } finally {
    await cluster?.stop();
  }
}, 120_000);
