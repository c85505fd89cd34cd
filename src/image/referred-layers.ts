import { useBlob } from './asking-others.js';
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
  // What reads bootstraps is loaded for images that need it.
  const [{ parseBootstrap }, { unpackBootstrapLayer }, { descriptorOfBlob, isReference }] = await Promise.all(
    [import('../rafs/bootstrap.js'), import('./bootstrap-layer.js'), import('./chunk-map.js')],
  );
  const name = `${source.name}: bootstrap layer`;
  const { bootstrap } = await useBlob(source, manifest.layers.at(-1)!, {
    signal,
    use: (content) => unpackBootstrapLayer(content, name),
  });
  const { blobs } = parseBootstrap(bootstrap, name);
  return blobs.filter(isReference).map((blob) => descriptorOfBlob([], blob));
}
