import type { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { packBootstrapLayer, unpackBootstrapLayer } from '../../src/image/bootstrap-layer.js';
import type { Descriptor } from '../../src/image/descriptor.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { storeBlob } from '../support/layout-image.js';

/** Changes that are made to a good image; digests and sizes around them are made to fit again. */
export interface Planted {
  /** Changes the bootstrap in place. */
  bootstrap?: (bytes: Buffer) => void;
  /** Changes one chunk map that comes with the bootstrap in place. */
  chunkMap?: (bytes: Buffer) => void;
  config?: (json: object) => void;
  manifest?: (json: object) => void;
}

/** Writes the image that `source` names with the changes to a layout at `path`, tag `latest`. */
export async function plant(source: LayoutSource, path: string, planted: Planted): Promise<LayoutSource> {
  const target = new LayoutTarget({ transport: 'oci', path, tag: 'latest' });
  const manifest = JSON.parse((await source.readManifest(await source.resolve())).toString());
  const layers: Descriptor[] = [];
  for (const layer of manifest.layers.slice(0, -1)) {
    const stored = await storeBlob(target, layer.mediaType, await buffer(await source.openBlob(layer)));
    layers.push({ ...layer, ...stored });
  }
  const last = manifest.layers.at(-1);
  const { bootstrap, blobMetas } = await unpackBootstrapLayer(await source.openBlob(last), 'golden');
  planted.bootstrap?.(bootstrap);
  const maps = [...blobMetas].map(([layerHex, bytes]) => ({ layerHex, bytes }));
  if (maps[0]) planted.chunkMap?.(maps[0].bytes);
  const { bytes, diffId } = await packBootstrapLayer({ bootstrap, blobMetas: maps });
  layers.push({ ...last, ...(await storeBlob(target, last.mediaType, bytes)) });
  const config = JSON.parse((await buffer((await source.openBlob(manifest.config)) as Readable)).toString());
  config.rootfs.diff_ids[config.rootfs.diff_ids.length - 1] = diffId;
  planted.config?.(config);
  manifest.config = await storeBlob(target, manifest.config.mediaType, Buffer.from(JSON.stringify(config)));
  manifest.layers = layers;
  planted.manifest?.(manifest);
  await target.putManifest(Buffer.from(JSON.stringify(manifest)), manifest.mediaType, { tag: true });
  await target.commit();
  return new LayoutSource({ transport: 'oci', path, tag: 'latest' });
}
