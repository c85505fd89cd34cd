import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import type { ConvertRequest } from '../../src/convert/convert.js';
import { type Descriptor, hexOf } from '../../src/image/descriptor.js';
import { type Index, type Manifest, parseManifest } from '../../src/image/manifest.js';
import {
  DOCKER_INDEX,
  DOCKER_LAYER_GZIP,
  DOCKER_MANIFEST,
  NYDUS_BOOTSTRAP,
  NYDUS_CONFIG,
  NYDUS_MANIFEST_ARTIFACT,
  NYDUS_SOURCE_DIGEST,
  OCI_CONFIG,
  OCI_INDEX,
  OCI_MANIFEST,
} from '../../src/image/media-types.js';
import { isNydusManifest } from '../../src/image/nydus-manifest.js';
import { selectPlatform } from '../../src/image/platform.js';
import { convertLayout, makeLayout, storeInLayout } from './layouts.js';
import { makeTar } from './tar-writer.js';

// Conversions start threads, which takes its time on a machine that is busy.
vi.setConfig({ testTimeout: 120_000 });

const attestationOf = (digest: string) => ({
  'vnd.docker.reference.type': 'attestation-manifest',
  'vnd.docker.reference.digest': digest,
});
const unknown = { os: 'unknown', architecture: 'unknown' };

/** A source with the images of the platforms, an attestation of each, an image for Windows and a signature. */
function makeIndex(architectures: string[], mediaType = OCI_INDEX) {
  const entries: Descriptor[] = [];
  const dir = makeLayout([makeTar([{ name: 'shared', data: 'same everywhere' }])], {
    indexType: mediaType,
    index: (template, path) => {
      const base = JSON.parse(readFileSync(blob(path, template.digest), 'utf8'));
      const config = JSON.parse(readFileSync(blob(path, base.config.digest), 'utf8'));
      const isDocker = mediaType === DOCKER_INDEX;
      const image = (os: string, architecture: string): Descriptor => {
        const bytes = JSON.stringify({ ...config, os, architecture });
        const configType = isDocker ? 'application/vnd.docker.container.image.v1+json' : OCI_CONFIG;
        const type = isDocker ? DOCKER_MANIFEST : OCI_MANIFEST;
        const stored = storeInLayout(path, Buffer.from(bytes), configType);
        const manifest = JSON.stringify({ ...base, mediaType: type, config: stored });
        return {
          ...storeInLayout(path, Buffer.from(manifest), type),
          annotations: { 'com.example.arch': architecture },
          platform: { os, architecture },
        };
      };
      const artifact = (content: string): Descriptor => {
        const layer = storeInLayout(path, Buffer.from(content), 'application/vnd.in-toto+json');
        const config = storeInLayout(path, Buffer.from('{}'), OCI_CONFIG);
        const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers: [layer] };
        return storeInLayout(path, Buffer.from(JSON.stringify(manifest)), OCI_MANIFEST);
      };
      const images = architectures.map((architecture) => image('linux', architecture));
      entries.push(
        ...images,
        ...images.map(({ digest }) => ({
          ...artifact(`provenance of ${digest}`),
          annotations: attestationOf(digest),
          platform: unknown,
        })),
        image('windows', 'amd64'),
        { ...artifact('signature'), artifactType: 'application/vnd.example.signature' },
      );
      return entries;
    },
  });
  const n = architectures.length;
  return {
    dir,
    images: entries.slice(0, n),
    attestations: entries.slice(n, 2 * n),
    windows: entries[2 * n]!,
    signature: entries[2 * n + 1]!,
  };
}

const blob = (dir: string, digest: string) => join(dir, 'blobs/sha256', hexOf(digest));

function readDocument(dir: string, digest?: string): Index | Manifest {
  const named = digest ?? JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')).manifests[0].digest;
  return parseManifest(readFileSync(blob(dir, named)), named);
}

async function convertToIndex(sourceDir: string, more: Partial<ConvertRequest> & { sourceTag?: string }) {
  const { dir, summary } = await convertLayout(sourceDir, {}, more);
  const index = readDocument(dir);
  if (index.kind !== 'index') throw new Error('the target is no index');
  return { dir, summary, index };
}

describe('several platforms', () => {
  it('become an index with what is about them, in which nothing else stands', async () => {
    const source = makeIndex(['amd64', 'arm64', 's390x']);
    const { dir, summary, index } = await convertToIndex(source.dir, {
      platforms: ['linux/s390x', 'linux/amd64', 'linux/amd64/v1'],
    });
    expect(index.mediaType).toBe(OCI_INDEX);
    const [amd64, s390x, ...carried] = index.manifests;
    expect(carried).toEqual([source.attestations[0], source.attestations[2], source.signature]);
    for (const [entry, from] of [
      [amd64!, source.images[0]!],
      [s390x!, source.images[2]!],
    ] as const) {
      const { platform, annotations, mediaType } = from;
      expect(entry).toMatchObject({ platform, annotations, mediaType });
      expect(entry.artifactType).toBeUndefined();
      const manifest = readDocument(dir, entry.digest) as Manifest;
      expect(isNydusManifest(manifest)).toBe(true);
      expect(manifest.annotations?.[NYDUS_SOURCE_DIGEST]).toBe(from.digest);
      expect(manifest.config.mediaType).toBe(OCI_CONFIG);
      const config = JSON.parse(readFileSync(blob(dir, manifest.config.digest), 'utf8'));
      expect(config.architecture).toBe(platform!.architecture);
    }
    for (const { digest } of carried) {
      expect(readFileSync(blob(dir, digest))).toEqual(readFileSync(blob(source.dir, digest)));
      const [layer] = (readDocument(dir, digest) as Manifest).layers;
      expect(readFileSync(blob(dir, layer!.digest))).toEqual(readFileSync(blob(source.dir, layer!.digest)));
    }
    expect(summary.images.map(({ platform }) => platform)).toEqual(['linux/amd64', 'linux/s390x']);
    expect(summary.platform).toBe('linux/amd64,linux/s390x');
    expect(summary.target.bytes).toBe(summary.images.reduce((sum, { target }) => sum + target.bytes, 0));
    expect(summary.images[1]!.target.digest).toBe(s390x!.digest);
    expect(summary.layers).toHaveLength(2);
  });

  it('all of them keep what cannot be converted as it is', async () => {
    const source = makeIndex(['amd64', 'arm64']);
    const { dir, summary, index } = await convertToIndex(source.dir, { platforms: 'all' });
    expect(index.manifests.slice(2)).toEqual([...source.attestations, source.windows, source.signature]);
    const top = JSON.parse(readFileSync(join(source.dir, 'index.json'), 'utf8')).manifests[0];
    expect(summary.source.digest).toBe(top.digest);
    const named = JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')).manifests[0];
    expect(summary.target.digest).toBe(named.digest);
  });

  it('give the same bytes again', async () => {
    const source = makeIndex(['amd64', 'arm64']);
    const one = await convertToIndex(source.dir, { platforms: 'all', mergeIndex: true });
    const two = await convertToIndex(source.dir, { platforms: 'all', mergeIndex: true });
    expect(two.summary.target.digest).toBe(one.summary.target.digest);
  });

  it('of an index of Docker type stay of Docker type', async () => {
    const source = makeIndex(['amd64', 'arm64'], DOCKER_INDEX);
    const { dir, index } = await convertToIndex(source.dir, { platforms: ['linux/amd64', 'linux/arm64'] });
    expect(index.mediaType).toBe(DOCKER_INDEX);
    expect(index.raw.mediaType).toBe(DOCKER_INDEX);
    for (const { digest, mediaType } of index.manifests.slice(0, 2)) {
      expect(mediaType).toBe(DOCKER_MANIFEST);
      const manifest = readDocument(dir, digest) as Manifest;
      expect(manifest.mediaType).toBe(DOCKER_MANIFEST);
      expect(manifest.config.mediaType).toBe('application/vnd.docker.container.image.v1+json');
      expect(manifest.layers.at(-1)).toMatchObject({
        mediaType: DOCKER_LAYER_GZIP,
        annotations: { [NYDUS_BOOTSTRAP]: 'true' },
      });
    }
  });

  it('one manifest that is listed twice is converted once', async () => {
    const platform = (architecture: string) => ({ platform: { os: 'linux', architecture } });
    const dir = makeLayout([makeTar([{ name: 'a', data: 'x' }])], {
      index: (manifest) => [
        { ...manifest, ...platform('amd64') },
        { ...manifest, ...platform('386') },
      ],
    });
    const { summary, index } = await convertToIndex(dir, { platforms: 'all' });
    expect(index.manifests.map(({ platform }) => platform?.architecture)).toEqual(['amd64', '386']);
    expect(index.manifests[0]!.digest).toBe(index.manifests[1]!.digest);
    expect(summary.images).toHaveLength(1);
  });

  it('that are not there are an error', async () => {
    const { dir } = makeIndex(['amd64']);
    const convert = (platforms: ConvertRequest['platforms']) =>
      convertLayout(dir, {}, platforms === undefined ? {} : { platforms });
    await expect(convert(['linux/amd64', 'linux/riscv64'])).rejects.toThrow('no image for linux/riscv64');
    const windows = makeLayout([], {
      index: (m) => [{ ...m, platform: { os: 'windows', architecture: 'amd64' } }],
    });
    await expect(convertLayout(windows, {}, { platforms: 'all' })).rejects.toThrow('no image for Linux');
  });

  it('an attestation whose bytes are wrong is an error', async () => {
    const source = makeIndex(['amd64']);
    const [layer] = (readDocument(source.dir, source.attestations[0]!.digest) as Manifest).layers;
    storeInLayout(source.dir, Buffer.from('forged'), 'x', layer!.digest);
    await expect(convertLayout(source.dir, {}, { platforms: 'all' })).rejects.toMatchObject({
      code: 'TRUNCATED',
    });
  });
});

describe('one platform', () => {
  it('that was asked for becomes a plain manifest', async () => {
    const source = makeIndex(['amd64', 'arm64']);
    const { dir, summary } = await convertLayout(source.dir, {}, { platforms: ['linux/arm64'] });
    expect(readDocument(dir).kind).toBe('manifest');
    expect(summary.source.digest).toBe(source.images[1]!.digest);
    expect(summary.images).toHaveLength(1);
  });

  it('that is all there is becomes a plain manifest too, of a plain manifest in any case', async () => {
    const tar = makeTar([{ name: 'a', data: 'x' }]);
    const platform = { os: 'linux', architecture: 'amd64' };
    for (const dir of [makeLayout([tar]), makeLayout([tar], { index: (m) => [{ ...m, platform }] })]) {
      const converted = await convertLayout(dir, {}, { platforms: 'all' });
      expect(readDocument(converted.dir).kind).toBe('manifest');
    }
  });

  it('with its attestation stays an index', async () => {
    const source = makeIndex(['amd64']);
    const { index } = await convertToIndex(source.dir, { platforms: 'all' });
    expect(index.manifests).toHaveLength(4);
  });
});

describe('a referrer', () => {
  it('names the source manifest and not its platform', async () => {
    const source = makeIndex(['amd64', 'arm64']);
    const { index, dir } = await convertToIndex(source.dir, { platforms: 'all', withReferrer: true });
    index.manifests.slice(0, 2).forEach((entry, i) => {
      const { mediaType, digest, size } = source.images[i]!;
      const manifest = readDocument(dir, entry.digest) as Manifest;
      expect(manifest.subject).toEqual({ mediaType, digest, size });
      expect(manifest.artifactType).toBeUndefined();
    });
    const plain = await convertLayout(source.dir);
    expect((readDocument(plain.dir) as Manifest).subject).toBeUndefined();
  });
});

describe('a merged index', () => {
  it('has the ordinary images unchanged, then the Nydus ones, then the rest', async () => {
    const source = makeIndex(['amd64', 'arm64']);
    const { dir, index } = await convertToIndex(source.dir, {
      platforms: ['linux/amd64', 'linux/arm64'],
      mergeIndex: true,
    });
    expect(index.mediaType).toBe(OCI_INDEX);
    expect(index.manifests.slice(0, 2)).toEqual(source.images);
    expect(index.manifests.slice(4)).toEqual([...source.attestations, source.signature]);
    index.manifests.slice(2, 4).forEach((entry, i) => {
      expect(entry).toMatchObject({
        artifactType: NYDUS_MANIFEST_ARTIFACT,
        platform: source.images[i]!.platform,
      });
      const manifest = readDocument(dir, entry.digest) as Manifest;
      expect(manifest.config.mediaType).toBe(NYDUS_CONFIG);
      expect(manifest.artifactType).toBeUndefined();
    });
    for (const { digest } of source.images) {
      const { config, layers } = readDocument(dir, digest) as Manifest;
      for (const each of [config, ...layers]) {
        expect(readFileSync(blob(dir, each.digest))).toEqual(readFileSync(blob(source.dir, each.digest)));
      }
    }
    for (const [i, architecture] of ['amd64', 'arm64'].entries()) {
      expect(selectPlatform(index, `linux/${architecture}`)).toBe(index.manifests[i]);
      expect(selectPlatform(index, `linux/${architecture}`, { prefer: 'nydus' })).toBe(
        index.manifests[i + 2],
      );
    }
  });

  it('of a plain manifest takes the platform from the config', async () => {
    const dir = makeLayout([makeTar([{ name: 'a', data: 'x' }])]);
    const { index } = await convertToIndex(dir, { mergeIndex: true });
    const { digest, size } = JSON.parse(readFileSync(join(dir, 'index.json'), 'utf8')).manifests[0];
    const platform = { os: 'linux', architecture: 'amd64' };
    expect(index.manifests).toEqual([
      { mediaType: OCI_MANIFEST, digest, size, platform },
      expect.objectContaining({ platform, artifactType: NYDUS_MANIFEST_ARTIFACT }),
    ]);
  });

  it('of a list of Docker type is an OCI index', async () => {
    const source = makeIndex(['amd64'], DOCKER_INDEX);
    const { index } = await convertToIndex(source.dir, { mergeIndex: true });
    expect(index.mediaType).toBe(OCI_INDEX);
    expect(index.manifests.slice(0, 2).map(({ mediaType }) => mediaType)).toEqual([
      DOCKER_MANIFEST,
      DOCKER_MANIFEST,
    ]);
  });

  it('as source is converted anew, without what it was converted to before', async () => {
    const source = makeIndex(['amd64', 'arm64']);
    const request = { platforms: 'all' as const, mergeIndex: true };
    const first = await convertToIndex(source.dir, request);
    const again = await convertToIndex(first.dir, { ...request, sourceTag: 'out' });
    expect(again.index.manifests).toEqual(first.index.manifests);
  });
});
