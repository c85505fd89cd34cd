import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  copyFileSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { packBootstrapLayer } from '../../src/image/bootstrap-layer.js';
import { descriptorOfMap, isReference } from '../../src/image/chunk-map.js';
import type { Descriptor } from '../../src/image/descriptor.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import {
  NYDUS_BLOB,
  NYDUS_BLOB_LAYER,
  NYDUS_BOOTSTRAP,
  NYDUS_REF,
  OCI_CONFIG,
  OCI_LAYER_GZIP,
  OCI_MANIFEST,
} from '../../src/image/media-types.js';
import { parseBootstrap } from '../../src/rafs/bootstrap.js';
import { decodeInlineBootstrap, findInlineBootstrap, TOC_TAIL_SIZE } from '../../src/rafs/toc.js';
import { storeBlob } from './layout-image.js';

const run = promisify(execFile);

/** What nydus-image made: a bootstrap, and a folder with files that are named as the bootstrap names their content. */
export interface FieldImage {
  bootstrap: string;
  objects: string;
}

/** Makes images with nydus-image (`program`) in folders below `dir`. */
export function createBuilder(program: string, dir: string) {
  const nydusImage = async (...args: string[]) => {
    const running = run(program, ['--log-level', 'error', ...args]);
    // The paths that come first, for those forms that have an order; others end without reading them.
    running.child.stdin?.on('error', () => {});
    running.child.stdin?.end('/\n');
    await running;
  };
  const folder = (name: string): FieldImage => {
    const objects = join(dir, name, 'objects');
    mkdirSync(objects, { recursive: true });
    return { bootstrap: join(dir, name, 'image.boot'), objects };
  };
  return {
    /** `nydus-image create` of one layer, the bootstrap in a file of its own; `objects` is where others are already. */
    async create(name: string, source: string, args: string[], objects?: string): Promise<FieldImage> {
      const own = folder(name);
      const image = { ...own, objects: objects ?? own.objects };
      await nydusImage('create', ...args, '-B', image.bootstrap, '-D', image.objects, source);
      return image;
    },

    /** Layers packed one by one with their bootstrap inside, as nydusify does it, then merged. */
    async merge(name: string, sources: string[], args: string[]): Promise<FieldImage> {
      const image = folder(name);
      const layers: { file: string; blob: string; map: string; size: number }[] = [];
      for (const [i, source] of sources.entries()) {
        const blob = join(dir, name, `layer${i}`);
        await nydusImage('create', ...args, '--blob-inline-meta', '-b', blob, source);
        const bytes = readFileSync(blob);
        const place = findInlineBootstrap(bytes.subarray(-TOC_TAIL_SIZE), bytes.length, blob);
        const stored = bytes.subarray(place.offset, place.offset + place.storedSize);
        const bootstrap = decodeInlineBootstrap(stored, place, blob);
        const [entry] = parseBootstrap(bootstrap).blobs;
        const reference = entry !== undefined && isReference(entry);
        const map = hexOf(blob);
        const id = reference ? hexOf(source) : map;
        linkSync(blob, join(image.objects, map));
        const file = join(dir, name, id);
        writeFileSync(file, bootstrap);
        layers.push({ file, blob: id, map, size: bytes.length });
      }
      const references = layers.every(({ blob, map }) => blob !== map);
      const lists = [
        ...['--blob-digests', layers.map(({ map }) => map).join(',')],
        ...['--original-blob-ids', layers.map(({ blob }) => blob).join(',')],
        ...['--blob-sizes', layers.map(({ size }) => size).join(',')],
        ...['--blob-toc-digests', layers.map(() => '0'.repeat(64)).join(',')],
        ...['--blob-toc-sizes', layers.map(() => '0').join(',')],
      ];
      const files = layers.map(({ file }) => file);
      await nydusImage('merge', '-B', image.bootstrap, ...(references ? lists : []), ...files);
      return image;
    },
  };
}

function hexOf(path: string): string {
  return createHash('sha256').update(readFileSync(path)).digest('hex');
}

/**
 * Makes an image in a new OCI layout at `path` of the bootstrap and the objects that it names, `layers` (ordinary ones that it refers
 * to) included. Objects keep the names that they have, also where those are not digests.
 */
export async function writeFieldLayout(
  image: FieldImage,
  path: string,
  layers: string[] = [],
): Promise<LayoutSource> {
  const target = new LayoutTarget({ transport: 'oci', path, tag: 'latest' });
  const bytes = readFileSync(image.bootstrap);
  const parts: Descriptor[] = [];
  for (const blob of parseBootstrap(bytes, image.bootstrap).blobs) {
    const data = { mediaType: NYDUS_BLOB_LAYER, digest: `sha256:${blob.id}`, size: 0 } as const;
    const { digest, mediaType } = descriptorOfMap(blob, data);
    const { size } = statSync(join(image.objects, digest.slice('sha256:'.length)));
    const reference = isReference(blob) && { [NYDUS_REF]: data.digest };
    parts.push({ mediaType, digest, size, annotations: { [NYDUS_BLOB]: 'true', ...reference } });
  }
  const layer = await packBootstrapLayer({ bootstrap: bytes, blobMetas: [] });
  const stored = await storeBlob(target, OCI_LAYER_GZIP, layer.bytes);
  const config = {
    architecture: 'amd64',
    os: 'linux',
    config: {},
    rootfs: { type: 'layers', diff_ids: [...parts.map(({ digest }) => digest), layer.diffId] },
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: await storeBlob(target, OCI_CONFIG, Buffer.from(JSON.stringify(config))),
    layers: [...parts, { ...stored, annotations: { [NYDUS_BOOTSTRAP]: 'true' } }],
  };
  await target.putManifest(Buffer.from(JSON.stringify(manifest)), OCI_MANIFEST, { tag: true });
  await target.commit();
  const blobs = join(path, 'blobs/sha256');
  for (const name of readdirSync(image.objects)) copyFileSync(join(image.objects, name), join(blobs, name));
  for (const file of layers) copyFileSync(file, join(blobs, hexOf(file)));
  return new LayoutSource({ transport: 'oci', path, tag: 'latest' });
}
