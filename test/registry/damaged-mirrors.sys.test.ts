import { createCipheriv } from 'node:crypto';
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeEach, expect, it } from 'vitest';
import { exportImage } from '../../src/export/export.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import type { ImageSource } from '../../src/image/source.js';
import { checkImage } from '../../src/inspect/check-image.js';
import { createContentReader } from '../../src/inspect/content.js';
import { findPath } from '../../src/inspect/find-path.js';
import { openImage } from '../../src/inspect/open-image.js';
import { openImageStore } from '../../src/mount/image/image-store.js';
import { openNydusImage } from '../../src/mount/image/nydus-image.js';
import { copyImage } from '../../src/transports/copy.js';
import { openSource, openTarget } from '../../src/transports/open.js';
import { convertLayout, makeLayout } from '../convert/layouts.js';
import { makeTar } from '../convert/tar-writer.js';
import { type FakeRegistry, hangUp, quickly, startFakeRegistry } from '../support/fake-registry.js';
import { removeScratch, scratch } from '../support/scratch.js';

const always = Number.POSITIVE_INFINITY;
/** Bytes that do not compress, always the same. */
const noise = (seed: string, size: number) =>
  createCipheriv('aes-128-ctr', Buffer.alloc(16, seed), Buffer.alloc(16)).update(Buffer.alloc(size));
const lower = makeTar([
  { name: 'a', data: noise('1', 700_000) },
  { name: 'b', data: noise('2', 3000) },
]);
const upper = makeTar([
  { name: '.wh.b', data: Buffer.alloc(0) },
  { name: 'c', data: noise('3', 900_000) },
  { name: 'd', data: noise('4', 5000) },
]);

let origin: FakeRegistry;
let mirrors: FakeRegistry[];
let sources: ImageSource[];

beforeEach(async () => {
  [origin, ...mirrors] = (await Promise.all([1, 2, 3].map(() => startFakeRegistry()))) as [
    FakeRegistry,
    FakeRegistry,
    FakeRegistry,
  ];
  sources = [];
});
afterEach(async () => {
  await Promise.all(sources.map((source) => source.close()));
  await Promise.all([origin, ...mirrors].map((registry) => registry.stop()));
});
afterAll(removeScratch);

/** The image of a layout from the registry, whose two mirrors have its blobs, each as `damage` leaves it. */
async function mirrored(
  layout: { path: string; tag: string },
  damage: (blob: Buffer) => Buffer | undefined,
): Promise<ImageSource> {
  const source = openSource({ transport: 'oci', ...layout });
  await copyImage(source, openTarget(origin.reference('team/app:1')));
  for (const mirror of mirrors) {
    for (const [name, content] of origin.manifests) mirror.manifests.set(name, content);
    for (const [digest, content] of origin.blobs)
      mirror.blobs.set(digest, damage(Buffer.from(content)) ?? content);
  }
  const hostsDir = scratch();
  mkdirSync(join(hostsDir, origin.host));
  const hosts = mirrors.map(({ host }) => `[host."http://${host}"]\n`);
  writeFileSync(join(hostsDir, origin.host, 'hosts.toml'), hosts.join(''));
  const image = openSource(origin.reference('team/app:1'), {
    env: {},
    places: { certsDirs: [], hostsDir, registriesConf: [], registriesConfDirs: [] },
    retry: quickly,
  });
  sources.push(source, image);
  return image;
}

function flip(bytes: Buffer, at: number): Buffer {
  bytes[at]! ^= 0x55;
  return bytes;
}
/** The layers, and nothing smaller. */
const isLayer = ({ length }: Buffer) => length > 100_000;
const namesMirrors = () =>
  mirrors.map(({ host }) => expect.stringMatching(`^read again .*from the mirror ${host}`));
const filesOf = (dir: string) => readdirSync(dir, { recursive: true }).sort();

it.each([
  ['within the compressed bytes', 'gzip', (blob: Buffer) => flip(blob, blob.length >> 1)],
  ['in the content of a file', 'none', (blob: Buffer) => flip(blob, blob.length - 20_000)],
  ['in a header', 'none', (blob: Buffer) => flip(blob, 600)],
  ['by being too short', 'zstd', (blob: Buffer) => blob.subarray(0, blob.length - 100)],
] as const)(
  'converts from the registry what both mirrors have damaged %s',
  async (_, compression, damage) => {
    const layers = [lower, upper].map((tar) => ({ tar, compression }));
    const path = makeLayout(layers);
    // The lower layer is right, so that it is not converted again where it can be kept.
    const damaged = (blob: Buffer) => (blob.length > 800_000 ? damage(blob) : undefined);
    const source = await mirrored({ path, tag: 't' }, damaged);
    const good = await convertLayout(path);
    const cacheDir = join(scratch(), 'cache');
    for (const more of [{ cacheDir }, {}]) {
      // A mirror that was wrong is asked last for a while; a new source knows nothing of that.
      const from = more.cacheDir === undefined ? await mirrored({ path, tag: 't' }, damaged) : source;
      const { summary, dir } = await convertLayout(path, {}, { source: from, ...more });
      expect(summary.target.digest).toBe(good.summary.target.digest);
      expect(filesOf(dir)).toEqual(filesOf(good.dir));
      expect(summary.images[0]!.warnings).toEqual(namesMirrors());
      expect(summary.images[0]!.reusedLayers).toBe(more.cacheDir === undefined ? 0 : 1);
    }
  },
);

it('says who gave wrong bytes where nobody has the right ones, and asks nobody for ever', async () => {
  const path = makeLayout([{ tar: lower, compression: 'none' }]);
  const damage = (blob: Buffer) => (isLayer(blob) ? flip(blob, blob.length >> 1) : undefined);
  const options = { path, tag: 't' };
  const lacking = await mirrored(options, damage);
  const down = await mirrored(options, damage);
  const [layer] = [...origin.blobs].find(([, content]) => isLayer(content))!;
  const asked = () =>
    mirrors.map(({ requests }) => requests.splice(0).filter(({ url }) => url.includes(layer)).length);
  const fromFirst = expect.stringContaining(`from the mirror ${mirrors[0]!.host}`);

  origin.blobs.delete(layer);
  await expect(convertLayout(path, {}, { source: lacking })).rejects.toMatchObject({
    code: 'NOT_FOUND',
    hint: fromFirst,
  });
  expect(asked()).toEqual([1, 1]);
  origin.intercept(/blobs/, hangUp, always);
  await expect(convertLayout(path, {}, { source: down })).rejects.toMatchObject({
    code: 'DIGEST_MISMATCH',
    message: fromFirst,
  });
  expect(asked()).toEqual([2, 1]);
});

it.each([
  ['all blobs', () => true],
  ['the content', isLayer],
])(
  'checks, reads and exports an image from the registry where both mirrors have damaged %s',
  async (what, isOne) => {
    const { dir } = await convertLayout(makeLayout([lower, upper]));
    const layout = { path: dir, tag: 'out' };
    const damage = (blob: Buffer) => (isOne(blob) ? flip(blob, blob.length >> 1) : undefined);
    const local = openSource({ transport: 'oci', ...layout });
    const expected = await checkImage(local, { platform: 'linux/amd64' });
    const options = { platform: 'linux/amd64' };
    const progress: number[] = [];
    const onProgress = (done: number) => progress.push(done);
    const checked = await checkImage(await mirrored(layout, damage), { ...options, onProgress });
    expect(checked).toMatchObject({ faults: [], names: expected.names, chunks: expected.chunks });
    expect(checked.bytes).toBe(expected.bytes);
    expect(progress.at(-1)).toBe(expected.bytes);
    if (what === 'the content') expect(checked.warnings).toEqual(namesMirrors());

    const contents = async (source: ImageSource) => {
      const image = await openImage(source, options);
      const reader = createContentReader(image);
      const pieces: Buffer[] = [];
      for (const name of ['a', 'c', 'd']) {
        const { inode } = findPath(image.bootstrap, Buffer.from(`/${name}`), { follow: false, name });
        for await (const piece of reader.read(inode)) pieces.push(Buffer.from(piece));
      }
      return Buffer.concat(pieces);
    };
    expect((await contents(await mirrored(layout, damage))).equals(await contents(local))).toBe(true);

    const store = openImageStore(join(scratch(), 'images'));
    const source = await mirrored(layout, damage);
    const opened = await openNydusImage({ source, store, reference: 'team/app:1', ...options });
    expect(opened.blobs).toHaveLength(2);
    expect(opened.warnings).toEqual([]);

    const exported = async (source: ImageSource) => {
      const target = new LayoutTarget({ transport: 'oci', path: join(scratch(), 'exported'), tag: 'x' });
      return (await exportImage({ source, target, ...options })).target.digest;
    };
    expect(await exported(await mirrored(layout, damage))).toBe(await exported(local));
    await local.close();
  },
);
