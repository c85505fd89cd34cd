import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterAll, beforeAll } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { dockerArchiveSource } from '../../src/image/archive/docker-archive-source.js';
import { parseDockerManifest } from '../../src/image/archive/docker-manifest.js';
import { type Descriptor, hexOf } from '../../src/image/descriptor.js';
import { checkLayoutVersion, parseLayoutIndex } from '../../src/image/layout/layout-files.js';
import { layoutArchive } from '../../src/image/layout/layout-reader.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { parseManifest } from '../../src/image/manifest.js';
import type { ImageSource } from '../../src/image/source.js';
import { makeTar, type TarItem } from '../convert/tar-writer.js';
import { golden } from '../image/golden.js';
import { fuzz } from '../support/fuzz.js';
import { mutate, mutateJson, pick, placesOf, type Random } from '../support/mutate.js';
import { damagedTar, type TarSample } from '../support/tar-samples.js';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-fuzz-archives-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

const json = (value: unknown) => Buffer.from(JSON.stringify(value));
const layer = makeTar([{ name: 'a', data: 'content' }]);
const config = json({
  os: 'linux',
  rootfs: { type: 'layers', diff_ids: [ociDigest(layer), ociDigest(layer)] },
});

/** A docker archive with links and a compressed layer, and an OCI layout with an index, in one tar each. */
function dockerItems(): TarItem[] {
  const entry = { Config: 'c.json', RepoTags: ['x:1'], Layers: ['l/layer.tar', 'm/layer.tar'] };
  return [
    { name: 'layer.tar', data: layer },
    { name: 'l/layer.tar', type: '2', link: '../layer.tar' },
    { name: `m/${'n'.repeat(120)}`, data: gzipSync(layer) },
    { name: 'm/layer.tar', type: '1', link: `m/${'n'.repeat(120)}` },
    { name: 'c.json', data: config },
    { name: 'manifest.json', data: json([entry]) },
  ];
}

function layoutItems(): TarItem[] {
  const blobs: TarItem[] = [];
  const store = (data: Buffer, mediaType: string): Descriptor => {
    const digest = ociDigest(data);
    blobs.push({ name: `./blobs/sha256/${hexOf(digest)}`, data });
    return { mediaType, digest, size: data.length };
  };
  const manifest = {
    schemaVersion: 2,
    config: store(config, 'application/vnd.oci.image.config.v1+json'),
    layers: [store(layer, 'application/vnd.oci.image.layer.v1.tar')],
  };
  const stored = store(json(manifest), 'application/vnd.oci.image.manifest.v1+json');
  return [
    { name: './blobs/', type: '5' },
    ...blobs,
    { name: './index.json', data: json({ schemaVersion: 2, manifests: [stored] }) },
    { name: './oci-layout', data: '{"imageLayoutVersion":"1.0.0"}' },
  ];
}

const sampleOf = (items: TarItem[]): TarSample => {
  const tar = makeTar(items);
  return { tar, places: placesOf(tar) };
};

/** Reads all that an image refers to. */
async function readAll(source: ImageSource): Promise<void> {
  try {
    const bytes = await source.readManifest(await source.resolve());
    const manifest = parseManifest(bytes, `${source.name}: manifest`);
    if (manifest.kind === 'index') return;
    for (const blob of [manifest.config, ...manifest.layers]) {
      for await (const _ of await source.openBlob(blob));
    }
  } finally {
    await source.close();
  }
}

function fuzzArchive(title: string, sample: TarSample, open: (path: string) => ImageSource): void {
  fuzz(title, {
    name: /x\.tar/,
    run: async (next) => {
      const path = join(directory, 'x.tar');
      const tar = damagedTar(sample, next);
      writeFileSync(path, next(10) === 0 ? mutate(gzipSync(tar, { level: 1 }), next) : tar);
      await readAll(open(path));
    },
  });
}

fuzzArchive('damaged docker archives', sampleOf(dockerItems()), (path) =>
  dockerArchiveSource({ transport: 'docker-archive', path, tag: 'x:1' }, { tempDir: directory }),
);
fuzzArchive('damaged oci archives', sampleOf(layoutItems()), (path) => {
  const files = layoutArchive(path, { tempDir: directory });
  return new LayoutSource({ transport: 'oci-archive', path }, files);
});

/** Damage to the bytes, or to what they mean. */
function damaged(document: Buffer, next: Random): Buffer {
  if (next(3) === 0) return mutate(document, next);
  return json(mutateJson(JSON.parse(document.toString()), next));
}

const documents: [Buffer, (bytes: Buffer, name: string) => unknown][] = [
  [
    json([
      { Config: 'c.json', RepoTags: ['x:1'], Layers: ['a/layer.tar'] },
      { Config: 'b', Layers: null },
    ]),
    parseDockerManifest,
  ],
  [golden('merged-index.raw'), parseLayoutIndex],
  [Buffer.from('{"imageLayoutVersion":"1.0.0"}'), checkLayoutVersion],
];

fuzz('damaged manifest.json, index.json and oci-layout', {
  name: 'the document',
  run: (next) => {
    const [document, parse] = pick(documents, next);
    parse(damaged(document, next), 'the document');
  },
});
