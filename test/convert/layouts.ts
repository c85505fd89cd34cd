import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync, gzipSync } from 'node:zlib';
import { compress } from '../../src/codec/compressor.js';
import { type ConvertRequest, convertImage } from '../../src/convert/convert.js';
import type { ConvertSummary } from '../../src/convert/summary.js';
import type { Descriptor } from '../../src/image/descriptor.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { OCI_CONFIG, OCI_INDEX, OCI_MANIFEST } from '../../src/image/media-types.js';
import { scratch } from '../support/scratch.js';

const digestOf = (bytes: Buffer) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;

/** A layer as it is to stand in the layout; the lies are for tests of damaged images. */
export interface LayerSpec {
  tar: Buffer;
  compression?: 'gzip' | 'zstd' | 'none' | 'docker-gzip';
  /** Changes the stored bytes; the descriptor keeps the digest of the good ones. */
  damage?: (stored: Buffer) => Buffer;
  mediaType?: string;
  diffId?: string;
  missing?: boolean;
}

const LAYER_TYPES = {
  gzip: 'application/vnd.oci.image.layer.v1.tar+gzip',
  zstd: 'application/vnd.oci.image.layer.v1.tar+zstd',
  none: 'application/vnd.oci.image.layer.v1.tar',
  'docker-gzip': 'application/vnd.docker.image.rootfs.diff.tar.gzip',
};

/** Stores a blob of a layout; with `digest`, under that name, whatever the bytes are. */
export function storeInLayout(
  dir: string,
  bytes: Buffer,
  mediaType: string,
  digest = digestOf(bytes),
): Descriptor {
  writeFileSync(join(dir, 'blobs/sha256', digest.slice(7)), bytes);
  return { mediaType, digest, size: bytes.length };
}

/** Layers as they are stored: most tests of a file convert the same ones. */
const packedLayers = new WeakMap<Buffer, Map<string, { stored: Buffer; digest: string }>>();

function packed(tar: Buffer, compression: NonNullable<LayerSpec['compression']>) {
  const forms = packedLayers.get(tar) ?? new Map<string, { stored: Buffer; digest: string }>();
  packedLayers.set(tar, forms);
  let form = forms.get(compression);
  if (form === undefined) {
    const stored =
      compression === 'none'
        ? tar
        : compression === 'zstd'
          ? compress('zstd', tar)
          : gzipSync(tar, { level: 1 });
    form = { stored, digest: digestOf(stored) };
    forms.set(compression, form);
  }
  return form;
}

const json = (value: unknown) => Buffer.from(JSON.stringify(value));

/** Writes an OCI layout with one image, tag `t`, and returns its directory. */
export function makeLayout(
  layers: (LayerSpec | Buffer)[],
  options: {
    config?: object;
    /** The entries of an index around the image; it may store more in the layout. */
    index?: (manifest: Descriptor, dir: string) => object[];
    indexType?: string;
  } = {},
): string {
  const { config = {}, index, indexType: mediaType = OCI_INDEX } = options;
  const dir = join(scratch(), 'source');
  mkdirSync(join(dir, 'blobs/sha256'), { recursive: true });
  const specs = layers.map((layer) => (Buffer.isBuffer(layer) ? { tar: layer } : layer));
  const descriptors = specs.map(({ tar, compression = 'gzip', damage, mediaType, missing }) => {
    const { stored, digest } = packed(tar, compression);
    const descriptor = storeInLayout(dir, stored, mediaType ?? LAYER_TYPES[compression], digest);
    const path = join(dir, 'blobs/sha256', descriptor.digest.slice(7));
    if (damage) writeFileSync(path, damage(Buffer.from(stored)));
    if (missing) rmSync(path);
    return descriptor;
  });
  const configBytes = json({
    os: 'linux',
    architecture: 'amd64',
    config: { Cmd: ['/bin/true'] },
    rootfs: {
      type: 'layers',
      diff_ids: specs.map(({ tar, diffId }) => diffId ?? packed(tar, 'none').digest),
    },
    ...config,
  });
  const manifest = storeInLayout(
    dir,
    json({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: storeInLayout(dir, configBytes, OCI_CONFIG),
      layers: descriptors,
    }),
    OCI_MANIFEST,
  );
  const named = index
    ? storeInLayout(dir, json({ schemaVersion: 2, mediaType, manifests: index(manifest, dir) }), mediaType)
    : manifest;
  const entry = { ...named, annotations: { 'org.opencontainers.image.ref.name': 't' } };
  writeFileSync(join(dir, 'index.json'), json({ schemaVersion: 2, manifests: [entry] }));
  writeFileSync(join(dir, 'oci-layout'), '{"imageLayoutVersion":"1.0.0"}');
  return dir;
}

export interface Converted {
  summary: ConvertSummary;
  /** The target layout. */
  dir: string;
}

/** Converts the image of a layout to a new layout, tag `out`. */
export async function convertLayout(
  sourceDir: string,
  options: ConvertRequest['options'] = {},
  { sourceTag = 't', ...more }: Partial<ConvertRequest> & { sourceTag?: string } = {},
): Promise<Converted> {
  const dir = join(scratch(), 'target');
  const source = new LayoutSource({ transport: 'oci', path: sourceDir, tag: sourceTag });
  const target = new LayoutTarget({ transport: 'oci', path: dir, tag: 'out' });
  try {
    const summary = await convertImage({
      source,
      target,
      sourceReference: `oci:${sourceDir}:t`,
      platforms: ['linux/amd64'],
      options: { jobs: 2, ...options },
      ...more,
    });
    return { summary, dir };
  } finally {
    await source.close();
  }
}

/** A tar of the golden inputs. */
export function goldenTar(name: string): Buffer {
  return gunzipSync(readFileSync(new URL(`../../fixtures/golden/in/${name}.tar.gz`, import.meta.url)));
}
