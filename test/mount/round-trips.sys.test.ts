import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { convertImage } from '../../src/convert/convert.js';
import type { Manifest } from '../../src/image/manifest.js';
import { parseReference } from '../../src/image/reference.js';
import { openImage } from '../../src/inspect/open-image.js';
import { mountImage } from '../../src/mount/client/client.js';
import { optimizeImage } from '../../src/optimize/optimize.js';
import { openSource, openTarget } from '../../src/transports/open.js';
import { type GatedRegistry, startGatedRegistry } from '../support/gated-registry.js';
import { writeLayerImage } from '../support/layer-image.js';
import { missingPrograms } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';
import { createPlace, type TestPlace } from './daemon-process.js';

const missing = missingPrograms('docker-registry', 'tar');
const content = randomBytes(300_000);
const PATIENCE = 30_000;
let dir: string;
let registry: TestRegistry;
let gate: GatedRegistry;
let place: TestPlace;

beforeAll(async () => {
  if (missing) return;
  dir = await mkdtemp(join(tmpdir(), 'rafter-rounds-'));
  const layout = join(dir, 'images');
  await mkdir(join(dir, 'root'));
  await writeFile(join(dir, 'root/data'), content);
  execFileSync('tar', ['-C', join(dir, 'root'), '-czf', join(dir, 'layer.tar.gz'), '.']);
  await writeLayerImage(layout, 'ordinary', [join(dir, 'layer.tar.gz')]);
  registry = await startRegistry();
  const target = (tag: string) => openTarget(parseReference(`${registry.host}/small:${tag}`));
  const sourceReference = `oci:${layout}:ordinary`;
  const ordinary = openSource(parseReference(sourceReference));
  await convertImage({ source: ordinary, sourceReference, target: target('plain') });
  const { bootstrap, descriptor } = await openImage(sourceOf('plain'));
  const touches = bootstrap.blobs.map(({ uncompressedSize: length }, blob) => ({
    ...{ blob, offset: 0, length, atMs: 0, waitedMs: 0 },
    from: 'local' as const,
  }));
  const trace = {
    reference: 'small',
    manifest: descriptor.digest,
    blobs: bootstrap.blobs.map(({ id }) => id),
    driver: 'erofs' as const,
    startedAt: '2026-01-02T03:04:05.678Z',
    touches,
  };
  const tempDir = join(dir, 'tmp');
  await optimizeImage({ source: sourceOf('plain'), target: target('fast'), traces: [trace], tempDir });
});
afterAll(async () => {
  await registry?.stop();
  if (dir) await rm(dir, { recursive: true });
});
beforeEach((ctx) => {
  if (missing) ctx.skip(missing);
  place = createPlace();
});
afterEach(async () => {
  await gate?.stop();
  if (!missing) await place.remove();
});

const sourceOf = (tag: string) => openSource(parseReference(`${registry.host}/small:${tag}`));
const manifestOf = async (tag: string): Promise<Manifest> => (await openImage(sourceOf(tag))).manifest;

/** Waits until just `expected` is asked for, all at the same time, and lets it be answered. */
async function round(expected: string[]): Promise<void> {
  await vi.waitFor(() => expect(gate.held()).toEqual(expected.sort()), PATIENCE);
  gate.release();
}

const mount = async (tag: string) =>
  mountImage(place, {
    reference: `${gate.host}/small:${tag}`,
    mountpoint: await place.mountpoint('m'),
    access: {},
    prefetch: false,
  });

/** Nothing else is asked for until the image is mounted; its readers may ask for more. */
async function expectReady(mounting: ReturnType<typeof mount>): Promise<void> {
  const { mountpoint } = await mounting;
  gate.open();
  expect((await readFile(join(mountpoint, 'data'))).equals(content)).toBe(true);
}

/** What is asked for when the manifest is known, for a mount that reads nothing. */
function contents({ config, layers }: Manifest, { pack }: { pack: boolean }): string[] {
  const wanted = [config, ...layers.slice(pack ? -2 : -1)];
  return wanted.map(({ digest }) => `GET blobs/${digest}`);
}

it('a mount takes two round trips, the start-up pack included', async () => {
  gate = await startGatedRegistry(registry.host);
  const mounting = mount('fast');
  await round(['GET manifests/fast']);
  await round(contents(await manifestOf('fast'), { pack: true }));
  await expectReady(mounting);
});

it('a mount of an image without one takes two, too', async () => {
  gate = await startGatedRegistry(registry.host);
  const mounting = mount('plain');
  await round(['GET manifests/plain']);
  await round(contents(await manifestOf('plain'), { pack: false }));
  await expectReady(mounting);
});

it('where a token is wanted it takes two more, once', async () => {
  gate = await startGatedRegistry(registry.host, { token: true });
  const mounting = mount('fast');
  await round(['GET manifests/fast']);
  await round(['GET token']);
  await round(['GET manifests/fast']);
  await round(contents(await manifestOf('fast'), { pack: true }));
  await expectReady(mounting);
});
