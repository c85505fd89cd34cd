import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { packBootstrapLayer, unpackBootstrapLayer } from '../../src/image/bootstrap-layer.js';
import { isReference, mapNameOf } from '../../src/image/chunk-map.js';
import { type Descriptor, hexOf } from '../../src/image/descriptor.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { parseManifest } from '../../src/image/manifest.js';
import {
  NYDUS_BLOB,
  NYDUS_BLOB_LAYER,
  NYDUS_BOOTSTRAP,
  OCI_CONFIG,
  OCI_LAYER_GZIP,
  OCI_MANIFEST,
} from '../../src/image/media-types.js';
import { findBootstrapLayer } from '../../src/image/nydus-manifest.js';
import { type Bootstrap, parseBootstrap } from '../../src/rafs/bootstrap.js';
import { writeDecodedBlob } from './decoded-blob.js';
import { storeBlob } from './layout-image.js';

/** A Nydus image of a layout, taken apart for tools that want files. */
export interface TakenApart {
  bootstrap: Bootstrap;
  bootstrapFile: string;
  /** The blobs' objects as in the registry, in blob table order. */
  blobFiles: string[];
  /** The objects with the chunk maps of blobs that are ordinary layers. */
  mapFiles: string[];
}

/** Writes the bootstrap of the image `tag` to `outDir`. */
export async function takeApart(layout: string, tag: string, outDir: string): Promise<TakenApart> {
  const source = new LayoutSource({ transport: 'oci', path: layout, tag });
  const manifest = parseManifest(await source.readManifest(await source.resolve()), tag);
  if (manifest.kind !== 'manifest') throw new Error(`${tag} is an index`);
  const layer = await source.openBlob(findBootstrapLayer(manifest, tag));
  const { bootstrap: bytes } = await unpackBootstrapLayer(layer, tag);
  await source.close();
  const bootstrapFile = join(outDir, 'image.boot');
  writeFileSync(bootstrapFile, bytes);
  const bootstrap = parseBootstrap(bytes, tag);
  const fileOf = (hex: string) => join(layout, 'blobs/sha256', hex);
  const blobFiles = bootstrap.blobs.map(({ id }) => fileOf(id));
  const mapFiles = bootstrap.blobs.filter(isReference).map((blob) => fileOf(mapNameOf(blob)));
  return { bootstrap, bootstrapFile, blobFiles, mapFiles };
}

/**
 * Writes a bootstrap and its blobs as an image of an OCI layout, without `.blob.meta` files. Returns the paths of the blobs in
 * the layout.
 */
export async function putTogether(
  { bootstrap, blobs }: { bootstrap: Buffer; blobs: Buffer[] },
  { path, tag }: { path: string; tag: string },
): Promise<string[]> {
  const target = new LayoutTarget({ transport: 'oci', path, tag });
  const layers: Descriptor[] = [];
  for (const bytes of blobs) {
    const stored = await storeBlob(target, NYDUS_BLOB_LAYER, bytes);
    layers.push({ ...stored, annotations: { [NYDUS_BLOB]: 'true' } });
  }
  const packed = await packBootstrapLayer({ bootstrap, blobMetas: [] });
  const last = await storeBlob(target, OCI_LAYER_GZIP, packed.bytes);
  const config = {
    architecture: 'amd64',
    os: 'linux',
    config: { Cmd: ['/bin/hello'] },
    rootfs: { type: 'layers', diff_ids: [...layers.map(({ digest }) => digest), packed.diffId] },
  };
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    config: await storeBlob(target, OCI_CONFIG, Buffer.from(JSON.stringify(config))),
    layers: [...layers, { ...last, annotations: { [NYDUS_BOOTSTRAP]: 'true' } }],
  };
  await target.putManifest(Buffer.from(JSON.stringify(manifest)), OCI_MANIFEST, { tag: true });
  await target.commit();
  return layers.map(({ digest }) => join(path, 'blobs/sha256', hexOf(digest)));
}

/** Writes the decoded blobs, which are the devices of a kernel mount, and returns their files in table order. */
export function decodeBlobs({ bootstrap, blobFiles }: TakenApart, outDir: string): string[] {
  return bootstrap.blobs.map((blob, i) => {
    const out = join(outDir, `device${i}`);
    writeDecodedBlob(bootstrap, blob, { blob: blobFiles[i]!, out });
    return out;
  });
}
