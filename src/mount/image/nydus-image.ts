import { type BootstrapLayout, layoutOf } from '../../cache/layout.js';
import { messageOf } from '../../errors.js';
import { descriptorOfBlob, mapNameOf } from '../../image/chunk-map.js';
import { type ImageConfig, parseImageConfig } from '../../image/config.js';
import type { Descriptor } from '../../image/descriptor.js';
import { findManifest } from '../../image/find-manifest.js';
import type { Manifest } from '../../image/manifest.js';
import { blobLayers, findBootstrapLayer } from '../../image/nydus-manifest.js';
import type { ImageSource } from '../../image/source.js';
import { findStartupLayer, type StartupLayer } from '../../image/startup-layer.js';
import { type Bootstrap, parseBootstrap, type RafsBlob } from '../../rafs/bootstrap.js';
import { StepClock } from '../steps.js';
import { createImageFetcher, type ImageFetcher } from './image-fetcher.js';
import type { ImageStore } from './image-store.js';
import type { OpenedImage, OpenedImages } from './opened-images.js';
import { resolveReference } from './resolve-reference.js';

export interface OpenOptions {
  source: ImageSource;
  store: ImageStore;
  /** Canonical text of the reference. */
  reference: string;
  /** `linux/arm64`; default is this machine's. */
  platform?: string | undefined;
  /** What the reference means, if that is not to be asked. */
  known?: Descriptor | undefined;
  /** Told of the image's start-up pack as soon as its manifest is known, so that it comes beside everything else. */
  onStartupLayer?: ((layer: StartupLayer) => void) | undefined;
  /** Told the same way of an image without one whose bootstrap is not on this machine: nobody has mounted it here. */
  onFirstOpen?: ((manifest: Descriptor) => void) | undefined;
  /** Images that need not be decoded again. */
  opened?: OpenedImages | undefined;
  /** Hears how long things take. */
  steps?: StepClock | undefined;
  signal?: AbortSignal | undefined;
}

/** Names, attributes and places of chunks. */
export interface ImageTree {
  bootstrap: Bootstrap;
  /** The bootstrap's bytes, for other threads. */
  bytes: SharedArrayBuffer;
}

/** Everything of an image that a mount needs before the first file is read. */
export interface NydusImage {
  /** What the reference means: the Nydus manifest, or an index that has it. */
  top: Descriptor;
  /** The Nydus manifest. */
  manifest: Descriptor;
  config: ImageConfig;
  /** Gone after `letGoOfTree`. */
  tree: ImageTree | undefined;
  /** One per entry of the bootstrap's blob table, in its order. */
  blobs: { descriptor: Descriptor; layout: BootstrapLayout }[];
  /** Bytes of all layers as stored in the registry, those that the image only refers to included. */
  imageSize: number;
  /** Bytes that were downloaded to get here. */
  metadataBytes: number;
  /** What the user should know, one sentence each. */
  warnings: string[];
}

/**
 * Reads an image's manifest, configuration, bootstrap and chunk maps, from the store where they are there and else from
 * the source, which is always asked what the reference means. If it does not answer the last known meaning
 * counts and a warning says so. Nothing else is downloaded.
 * Throws UNSUPPORTED with a hint for an image that is not a Nydus image, and what source and readers throw.
 */
export function openNydusImage(options: OpenOptions): Promise<NydusImage> {
  return options.store.whileOpening(() => openImage(options));
}

async function openImage(options: OpenOptions): Promise<NydusImage> {
  const { source, store, reference, steps = new StepClock() } = options;
  const fetcher = createImageFetcher(options);
  const resolve = async () => {
    const onWarning = (text: string) => fetcher.warnings.push(text);
    const { descriptor: meant, noted } = await resolveReference({ ...options, onWarning });
    if (noted) fetcher.noted(noted);
    return meant;
  };
  const top = options.known ?? (await steps.time('resolve the reference', resolve));
  const { descriptor, manifest } = await steps.time('manifest', () =>
    findManifest(top, {
      name: source.name,
      platform: options.platform,
      read: fetcher.manifest,
    }),
  );
  const bootstrapLayer = findBootstrapLayer(manifest, source.name);
  const startup = findStartup(manifest, source.name, fetcher.warnings);
  if (startup) options.onStartupLayer?.(startup);
  else if (options.onFirstOpen && !(await store.holds([bootstrapLayer], []))) options.onFirstOpen(descriptor);
  const needs = [manifest.config, bootstrapLayer];
  const key = `${reference} ${descriptor.digest}`;
  const known = options.opened?.find(key);
  // What is kept on disk must be there still: another daemon may have to go on with the mount.
  const isKept = known && (await store.holds(needs, known.maps));
  const image = isKept ? known : await decodeImage(options, { fetcher, manifest, bootstrapLayer });
  options.opened?.add(key, image);
  const contents = [...fetcher.contents, ...needs.map(({ digest }) => digest)];
  if (startup) contents.push(startup.descriptor.digest);
  const ids = image.parts.blobs.map(({ layout }) => layout.id);
  const ofImage = { reference, top: top.digest, manifest: descriptor.digest };
  fetcher.noted(
    store.recordUse({ ...ofImage, contents: [...new Set(contents)], maps: image.maps, blobs: ids }),
  );
  await steps.time('note what is needed', () => fetcher.allNoted());
  return {
    ...image.parts,
    top,
    manifest: descriptor,
    metadataBytes: fetcher.downloaded(),
    warnings: fetcher.warnings,
  };
}

/** Reads configuration, bootstrap and chunk maps. */
async function decodeImage(
  { source, steps = new StepClock() }: OpenOptions,
  {
    fetcher,
    manifest,
    bootstrapLayer,
  }: { fetcher: ImageFetcher; manifest: Manifest; bootstrapLayer: Descriptor },
): Promise<OpenedImage> {
  const [configBytes, layer] = await Promise.all([
    steps.time('configuration', () => fetcher.blob(manifest.config)),
    steps.time('bootstrap', () => fetcher.bootstrapLayer(bootstrapLayer)),
  ]);
  const parsedFrom = performance.now();
  const bytes = new SharedArrayBuffer(layer.bootstrap.length);
  layer.bootstrap.copy(Buffer.from(bytes));
  const bootstrap = parseBootstrap(Buffer.from(bytes), `${source.name}: bootstrap`);
  const layers = blobLayers(manifest);
  const readBlob = async (blob: RafsBlob, index: number) => {
    const descriptor = descriptorOfBlob(layers, blob);
    const map =
      bootstrap.chunkMap(index) ??
      (await fetcher.map(blob, descriptor, layer.blobMetas.get(mapNameOf(blob))));
    return { descriptor, layout: layoutOf(bootstrap, index, map) };
  };
  const blobs = await Promise.all(bootstrap.blobs.map(readBlob));
  steps.note('parse the bootstrap', parsedFrom);
  return {
    parts: {
      config: parseImageConfig(configBytes, `${source.name}: configuration`),
      tree: { bootstrap, bytes },
      blobs,
      imageSize: sizeOfAll([...manifest.layers, ...blobs.map((blob) => blob.descriptor)]),
    },
    maps: [...fetcher.maps],
  };
}

/** The tree of an image that was not let go. */
export function treeOf({ tree }: Pick<NydusImage, 'tree'>): ImageTree {
  if (tree === undefined) throw new Error('the tree of the image was let go');
  return tree;
}

/** For an image whose tree the kernel serves: keeps of it what the cache needs to know of the blobs, and nothing else. */
export function letGoOfTree(image: Pick<NydusImage, 'tree' | 'blobs'>): void {
  for (const { layout } of image.blobs) layout.detach();
  image.tree = undefined;
}

/** The start-up pack. An image with one that cannot be used starts as one without. */
function findStartup(manifest: Manifest, name: string, warnings: string[]): StartupLayer | undefined {
  try {
    return findStartupLayer(manifest, name);
  } catch (error) {
    warnings.push(messageOf(error));
    return undefined;
  }
}

/** Bytes of the objects, each counted once. */
function sizeOfAll(descriptors: Descriptor[]): number {
  const sizes = new Map(descriptors.map(({ digest, size }) => [digest, size]));
  return [...sizes.values()].reduce((sum, size) => sum + size, 0);
}
