import { expect, it } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { describe as describeImage, readRawConfig, readRawManifest } from '../../src/inspect/describe.js';
import { goldenLayout } from '../mount/layouts.js';
import { watchSource } from './watched-source.js';

const platform = 'linux/amd64';

it('describes a Nydus image with one metadata download', async () => {
  const { source, asked } = watchSource(goldenLayout('tiny-batch'));
  const image = await describeImage(source, {});
  expect(asked).toEqual(['resolve', 'manifest', 'blob', 'blob']);
  expect(image).toMatchObject({
    kind: 'nydus',
    platform,
    digest: (await goldenLayout('tiny-batch').resolve()).digest,
    config: { cmd: expect.any(Array) },
    nydus: { fsVersion: 6, chunkSize: 1 << 20, compressor: 'zstd', digester: 'blake3' },
  });
  if (image.kind !== 'nydus') throw new Error('no Nydus image');
  expect(image.nydus!.names).toMatchObject({ file: 4, symlink: 1 });
  expect(image.nydus!.blobs!.some(({ features }) => features.includes('batch'))).toBe(true);
  expect(image.nydus!.blobs!.map(({ id }) => `sha256:${id}`)).toEqual(
    image.layers.slice(0, -1).map(({ digest }) => digest),
  );
  expect(image.size).toBeGreaterThan(image.layers.reduce((sum, { size }) => sum + size, 0));
});

it('describes an ordinary image without a layer', async () => {
  const { source, asked } = watchSource(goldenLayout('tiny-src'));
  expect(await describeImage(source, {})).toMatchObject({ kind: 'oci', platform, layers: [{}, {}] });
  expect(asked).toEqual(['resolve', 'manifest', 'blob']);
});

it('describes an index, or the Nydus image in it for a platform', async () => {
  const index = await describeImage(goldenLayout('tiny-both'), {});
  expect(index).toMatchObject({ kind: 'index', manifests: [{ platform }, { platform }] });
  expect(await describeImage(goldenLayout('tiny-both'), { platform })).toMatchObject({ kind: 'nydus' });
  await expect(describeImage(goldenLayout('tiny-both'), { platform: 'linux/s390x' })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
});

it('describes what can be told of an image in a form that cannot be read', async () => {
  const image = await describeImage(goldenLayout('tiny-ociref'), {});
  expect(image).toMatchObject({ kind: 'nydus', platform });
});

it('gives manifest and configuration byte for byte', async () => {
  const source = goldenLayout('tiny-nydus');
  const { digest } = await source.resolve();
  const manifest = await readRawManifest(source, {});
  expect(ociDigest(manifest)).toBe(digest);
  expect(ociDigest(await readRawConfig(source, { platform }))).toBe(
    JSON.parse(manifest.toString()).config.digest,
  );
  const index = goldenLayout('tiny-both');
  expect(ociDigest(await readRawManifest(index, {}))).toBe((await index.resolve()).digest);
  const chosen = await describeImage(index, { platform });
  expect(ociDigest(await readRawManifest(index, { platform }))).toBe(chosen.digest);
});
