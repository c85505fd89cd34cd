import { parseBootstrap } from '../rafs/bootstrap.js';
import { unpackBootstrapLayer } from './bootstrap-layer.js';
import { descriptorOfBlob, isReference } from './chunk-map.js';
import type { Descriptor } from './descriptor.js';
import type { Manifest } from './manifest.js';
import { NYDUS_REF } from './media-types.js';
import { isNydusManifest } from './nydus-manifest.js';
import type { ImageSource } from './source.js';

/**
 * The layers of ordinary images that hold the chunks of a Nydus image. Its manifest does not list them, so whoever takes the image
 * somewhere else has to take them along. None for most images; where annotations say that there are some, the bootstrap is read, as
 * only that knows their sizes. Throws what reading it throws.
 */
export async function referredLayers(
  source: ImageSource,
  manifest: Manifest,
  signal?: AbortSignal,
): Promise<Descriptor[]> {
  const refers = manifest.layers.some(({ annotations }) => annotations?.[NYDUS_REF] !== undefined);
  if (!refers || !isNydusManifest(manifest)) return [];
  const name = `${source.name}: bootstrap layer`;
  const { bootstrap } = await unpackBootstrapLayer(
    await source.openBlob(manifest.layers.at(-1)!, signal),
    name,
  );
  const { blobs } = parseBootstrap(bootstrap, name);
  return blobs.filter(isReference).map((blob) => descriptorOfBlob([], blob));
}
