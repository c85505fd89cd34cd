import { type BlobLayout, layoutOf } from '../cache/layout.js';
import { useBlob } from '../image/asking-others.js';
import { unpackBootstrapLayer } from '../image/bootstrap-layer.js';
import { descriptorOfBlob, mapNameOf, parseSuppliedMap, readStoredMap } from '../image/chunk-map.js';
import { type ImageConfig, MAX_CONFIG_SIZE, parseImageConfig } from '../image/config.js';
import type { Descriptor } from '../image/descriptor.js';
import type { FoundManifest } from '../image/find-manifest.js';
import type { Manifest } from '../image/manifest.js';
import { blobLayers, findBootstrapLayer } from '../image/nydus-manifest.js';
import { findManifestOf } from '../image/read-manifest.js';
import { type ImageSource, readSmallBlob } from '../image/source.js';
import { type Bootstrap, type ChunkMap, parseBootstrap, type RafsBlob } from '../rafs/bootstrap.js';

/** A Nydus image that is read without a mount and without a cache. */
export interface OpenImage {
  /** The reference, for messages. */
  name: string;
  source: ImageSource;
  /** Of the Nydus manifest. */
  descriptor: Descriptor;
  manifest: Manifest;
  config: ImageConfig;
  bootstrap: Bootstrap;
  /** Bytes of the bootstrap. */
  bootstrapSize: number;
  /** The layer, or the loose object, that holds a blob of the bootstrap. */
  descriptorOf(blob: RafsBlob): Descriptor;
  /** Where the chunks of blob `blobIndex` are. The first call for a blob may read its chunk map from the source. */
  layout(blobIndex: number): Promise<BlobLayout>;
}

export interface OpenImageOptions {
  /** `linux/arm64`; default is this machine's. */
  platform?: string | undefined;
  signal?: AbortSignal | undefined;
}

/**
 * Reads an image's manifest, configuration and bootstrap; nothing else is downloaded before it is asked for.
 * Throws UNSUPPORTED with a hint for an image that is not a Nydus image, and what source and readers throw.
 */
export async function openImage(source: ImageSource, options: OpenImageOptions = {}): Promise<OpenImage> {
  const found = await findManifestOf(source, await source.resolve(options.signal), options);
  return openManifest(source, found, options.signal);
}

/** As `openImage`, when the manifest is at hand. */
export async function openManifest(
  source: ImageSource,
  { descriptor, manifest }: FoundManifest,
  signal?: AbortSignal,
): Promise<OpenImage> {
  const { name } = source;
  const bootstrapLayer = findBootstrapLayer(manifest, name);
  const [configBytes, layer] = await Promise.all([
    readSmallBlob(source, manifest.config, { limit: MAX_CONFIG_SIZE, signal }),
    useBlob(source, bootstrapLayer, {
      signal,
      use: (content) => unpackBootstrapLayer(content, `${name}: bootstrap layer`),
    }),
  ]);
  const bootstrap = parseBootstrap(layer.bootstrap, `${name}: bootstrap`);
  const descriptorOf = (blob: RafsBlob) => descriptorOfBlob(blobLayers(manifest), blob);
  const readMap = async (blobIndex: number): Promise<ChunkMap> => {
    const blob = bootstrap.blobs[blobIndex]!;
    const known = bootstrap.chunkMap(blobIndex);
    if (known) return known;
    const file = layer.blobMetas.get(mapNameOf(blob));
    const supplied = file && parseSuppliedMap(file, blob);
    if (supplied) return supplied;
    return (await readStoredMap(source, { descriptor: descriptorOf(blob), blob, signal })).map;
  };
  const layouts = new Map<number, Promise<BlobLayout>>();
  return {
    name,
    source,
    descriptor,
    manifest,
    config: parseImageConfig(configBytes, `${name}: configuration`),
    bootstrap,
    bootstrapSize: layer.bootstrap.length,
    descriptorOf,
    layout(blobIndex) {
      const known = layouts.get(blobIndex);
      if (known) return known;
      const layout = readMap(blobIndex).then((map) => layoutOf(bootstrap, blobIndex, map));
      layouts.set(blobIndex, layout);
      return layout;
    },
  };
}
