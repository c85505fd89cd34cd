import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { decompressLayer } from '../../src/codec/decompress-stream.js';
import { ociDigest } from '../../src/codec/digest.js';
import type { Descriptor } from '../../src/image/descriptor.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { OCI_CONFIG, OCI_LAYER_GZIP, OCI_MANIFEST } from '../../src/image/media-types.js';
import { storeBlob } from './layout-image.js';

/** Writes an OCI layout whose image `tag` has the given layer files (tar, tar.gz or tar.zst), lowest first. */
export async function writeLayerImage(path: string, tag: string, layerFiles: string[]): Promise<void> {
  const target = new LayoutTarget({ transport: 'oci', path, tag });
  const layers: Descriptor[] = [];
  const diffIds: string[] = [];
  for (const file of layerFiles) {
    const bytes = readFileSync(file);
    const { tar } = await decompressLayer(Readable.from([bytes]), file);
    diffIds.push(ociDigest(await buffer(tar)));
    layers.push(await storeBlob(target, OCI_LAYER_GZIP, bytes));
  }
  const configJson = {
    architecture: process.arch === 'arm64' ? 'arm64' : 'amd64',
    os: 'linux',
    config: { Cmd: ['/bin/sh'] },
    rootfs: { type: 'layers', diff_ids: diffIds },
    history: layerFiles.map((file) => ({ created_by: file.split('/').at(-1) })),
  };
  const config = await storeBlob(target, OCI_CONFIG, Buffer.from(JSON.stringify(configJson)));
  const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers };
  await target.putManifest(Buffer.from(JSON.stringify(manifest)), OCI_MANIFEST, { tag: true });
  await target.commit();
}
