import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unpackBootstrapLayer } from '../../src/image/bootstrap-layer.js';
import { hexOf } from '../../src/image/descriptor.js';
import { LayoutSource } from '../../src/image/layout-source.js';
import { parseManifest } from '../../src/image/manifest.js';
import { findBootstrapLayer } from '../../src/image/nydus-manifest.js';
import { type Bootstrap, parseBootstrap } from '../../src/rafs/bootstrap.js';
import { writeDecodedBlob } from './decoded-blob.js';

/** A Nydus image of a layout, taken apart for tools that want files. */
export interface TakenApart {
  bootstrap: Bootstrap;
  bootstrapFile: string;
  /** The blobs' objects as in the registry, in blob table order. */
  blobFiles: string[];
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
  const blobFiles = bootstrap.blobs.map(({ id }) => join(layout, 'blobs/sha256', hexOf(`sha256:${id}`)));
  return { bootstrap, bootstrapFile, blobFiles };
}

/** Writes the decoded blobs, which are the devices of a kernel mount, and returns their files in table order. */
export function decodeBlobs({ bootstrap, blobFiles }: TakenApart, outDir: string): string[] {
  return bootstrap.blobs.map((blob, i) => {
    const out = join(outDir, `device${i}`);
    writeDecodedBlob(bootstrap, blob, { blob: blobFiles[i]!, out });
    return out;
  });
}
