import type { PackPool } from '../codec/pack-pool.js';
import { messageOf } from '../errors.js';
import { askingOthers } from '../image/asking-others.js';
import { writeBootstrapLayer } from '../image/bootstrap-layer.js';
import { type Descriptor, hexOf } from '../image/descriptor.js';
import { buildNydusManifest } from '../image/nydus-manifest.js';
import { formatPlatform } from '../image/platform.js';
import type { ImageSource } from '../image/source.js';
import { storeBlob } from '../image/store-blob.js';
import type { ImageTarget } from '../image/target.js';
import { encodeBootstrap } from '../rafs/bootstrap-builder.js';
import type { TreeNode } from '../rafs/tree.js';
import { copyMissingBlobs } from '../transports/copy.js';
import { BackgroundWork } from './background-work.js';
import { packBuffers } from './chunk-buffers.js';
import { ChunkDictionary, type DictionaryBlob } from './chunk-dictionary.js';
import { ChunkIndex } from './chunk-index.js';
import type { LayerCache } from './layer-cache.js';
import type { LayerResult } from './layer-converter.js';
import { createLayerConverter } from './layer-reuse.js';
import { openLayerTar } from './layer-tar.js';
import { LayersAhead } from './layers-ahead.js';
import { collectLosses } from './losses.js';
import type { CheckedOptions } from './options.js';
import { emptyTree } from './overlay.js';
import { expandPatterns } from './prefetch-patterns.js';
import type { SourceImage } from './source-image.js';
import { ContentWatch, interpretersOf } from './startup/content-watch.js';
import { findStartup } from './startup/find-startup.js';
import { ImageFiles } from './startup/image-files.js';
import {
  type Clock,
  type ImageSummary,
  type LayerSummary,
  summarizeDictionary,
  summarizeLayer,
} from './summary.js';

/** A step that goes on or has ended. `done` and `total` are bytes. */
export interface ProgressEvent {
  kind: 'progress' | 'finished';
  label: string;
  done: number;
  total?: number;
}

/** What the images of one conversion share. */
export interface ConversionContext {
  source: ImageSource;
  target: ImageTarget;
  options: CheckedOptions;
  pool: PackPool;
  clock: Clock;
  /** Nydus images whose chunks are not stored again. */
  dictionaries: readonly ImageSource[];
  /** Layers that were converted before; undefined: every layer is converted. */
  cache: LayerCache | undefined;
  /** Name of the source that means something on other machines too. */
  sourceReference: string | undefined;
  withReferrer: boolean;
  /** Each image is to stand beside its source in an index. */
  mergeIndex: boolean;
  onProgress: ((event: ProgressEvent) => void) | undefined;
}

export interface ImagePlace {
  /** Stands before the steps' names, to tell several images apart. */
  label: string;
  /** The image is what the target's reference names, not a member of an index. */
  tag: boolean;
}

/**
 * Converts one image: a blob per layer, one bootstrap over all of them, config and manifest. Everything is at the
 * target afterwards, nothing is committed. Where a server gave wrong bytes of a layer, which are in the tree then, the image is begun
 * anew with those of the next: layers below come from the cache, if there is one. Throws what source, target, layers
 * (`convertLayer`) and the format throw.
 */
export async function convertOne(
  context: ConversionContext,
  image: SourceImage,
  place: ImagePlace,
): Promise<{ manifest: Descriptor; summary: ImageSummary }> {
  const wrong: string[] = [];
  const work = async () => {
    const storing = new BackgroundWork();
    try {
      return await convertAndStore(context, image, place, storing);
    } finally {
      // Nobody may still be writing to a target that is given up.
      await storing.settle();
    }
  };
  const { manifest, summary } = await askingOthers(work, (error) => {
    wrong.push(`read again from another server: ${messageOf(error)}`);
  });
  return { manifest, summary: { ...summary, warnings: [...wrong, ...summary.warnings] } };
}

async function convertAndStore(
  context: ConversionContext,
  image: SourceImage,
  place: ImagePlace,
  storing: BackgroundWork,
): Promise<{ manifest: Descriptor; summary: ImageSummary }> {
  const { source, target, options, pool, clock } = context;
  const root = emptyTree();
  const losses = collectLosses(options.lossy);
  const platform = formatPlatform(image.entry.platform!);
  const dictionary = await ChunkDictionary.read(context.dictionaries, { ...options, platform });
  const index = new ChunkIndex(dictionary);
  const buffers = packBuffers(options);
  const contents = options.findStartup ? new ContentWatch(interpretersOf(image.config.config)) : undefined;
  const shared = { source, target, root, index, buffers, storing, pool, options, losses, contents };
  const convertLayer = createLayerConverter(shared, { cache: context.cache, dictionary });
  const results: LayerResult[] = [];
  const layers: LayerSummary[] = [];
  const count = image.manifest.layers.length;
  const labels = image.manifest.layers.map((_, i) => `${place.label}layer ${i + 1} of ${count}`);
  const inputs = image.manifest.layers.map((descriptor, i) => ({
    descriptor,
    diffId: image.config.diffIds[i]!,
    name: `${source.name}: ${labels[i]} (${descriptor.digest})`,
  }));
  const reading = { source, pool, signal: options.signal };
  const ahead = new LayersAhead((i) => openLayerTar(inputs[i]!, reading), { count, jobs: options.jobs });
  try {
    for (const [i, input] of inputs.entries()) {
      const startedAt = performance.now();
      const label = labels[i]!;
      const result = await convertLayer({
        ...input,
        open: () => ahead.open(i),
        onBytes: (done) =>
          context.onProgress?.({ kind: 'progress', label, done, total: input.descriptor.size }),
      });
      const { size } = input.descriptor;
      context.onProgress?.({ kind: 'finished', label, done: size, total: size });
      results.push(result);
      layers.push(summarizeLayer(input.descriptor, result, performance.now() - startedAt));
    }
  } finally {
    ahead.close();
  }
  index.clear();
  // Making the bootstrap is where the main thread needs most memory, and it needs no other thread.
  await pool.rest();
  clock.lap('layers');

  const prefetch = expandPatterns(root, options.prefetch);
  const startup = contents
    ? findStartup(new ImageFiles(root, contents.facts), image.config.config)
    : { paths: [], bytes: 0 };
  const bootstrap = await storeBootstrap(
    target,
    {
      ...{ root, layers: results, dictionary },
      prefetch: [...prefetch.paths, ...startup.paths.map((path) => Buffer.from(path, 'latin1'))],
    },
    options,
  );
  clock.lap('bootstrap');
  await storing.finish();
  const copied = await copyDictionaryBlobs(context, bootstrap.dictionaryBlobs, place);

  const nydus = buildNydusManifest({
    source: image.manifest,
    config: image.config,
    sourceDescriptor: image.entry,
    sourceReference: context.sourceReference,
    blobs: results.map(({ blob }) => blob),
    dictionaryBlobs: bootstrap.dictionaryBlobs.map(({ descriptor }) => descriptor),
    bootstrap,
    withReferrer: context.withReferrer,
    merged: context.mergeIndex,
  });
  await storeBlob(target, options.signal, (write) => write(nydus.config.bytes));
  const { bytes, mediaType } = nydus.manifest;
  const manifest = await target.putManifest(bytes, mediaType, { tag: place.tag, signal: options.signal });
  clock.lap('publish');

  const shares = summarizeDictionary(layers, bootstrap.dictionaryBlobs, copied);
  const blobBytes = layers.reduce((sum, layer) => sum + layer.blobBytes, shares.blobBytes);
  const summary = {
    platform,
    source: { digest: image.entry.digest, bytes: sourceBytes(image) },
    target: { digest: manifest.digest, bytes: blobBytes + bootstrap.size + nydus.config.bytes.length },
    layers,
    reusedLayers: layers.filter(({ reused }) => reused).length,
    dictionary: shares,
    bootstrapBytes: bootstrap.rawSize,
    startup: { files: startup.paths.length, bytes: startup.bytes },
    warnings: [
      ...dictionary.warnings,
      ...losses.warnings(),
      ...prefetch.unmatched.map(
        (pattern) => `nothing in the image is named by the prefetch pattern ${pattern}`,
      ),
    ],
  };
  return { manifest, summary };
}

async function storeBootstrap(
  target: ImageTarget,
  {
    root,
    layers,
    dictionary,
    prefetch,
  }: { root: TreeNode; layers: LayerResult[]; dictionary: ChunkDictionary; prefetch: Buffer[] },
  { chunkSize, compressor, digester, signal }: CheckedOptions,
) {
  const blobs = layers.flatMap(({ blob }) => (blob ? [blob] : []));
  const bootstrap = encodeBootstrap({
    root,
    blobs: [...blobs, ...dictionary.blobs].map(({ ref }) => ref),
    chunkSize,
    compressor,
    digester,
    prefetch,
  });
  const dictionaryBlobs = dictionary.withIds(bootstrap.blobIds);
  const blobMetas = [
    ...blobs.map(({ digest, meta }) => ({ layerHex: hexOf(digest), bytes: meta })),
    ...dictionaryBlobs.flatMap(({ ref, meta }) => (meta ? [{ layerHex: ref.id!, bytes: meta }] : [])),
  ];
  const { stored, result } = await storeBlob(target, signal, (write) =>
    writeBootstrapLayer({ bootstrap, blobMetas }, write),
  );
  return { ...stored, ...result, rawSize: bootstrap.size, dictionaryBlobs };
}

/** Brings to the target what it lacks of the dictionary's blobs. Bytes that were copied. */
async function copyDictionaryBlobs(
  { target, options, onProgress }: ConversionContext,
  blobs: DictionaryBlob[],
  place: ImagePlace,
): Promise<number> {
  const label = `${place.label}blobs of the chunk dictionary`;
  let bytes = 0;
  for (const source of new Set(blobs.map((blob) => blob.source))) {
    const descriptors = blobs.filter((blob) => blob.source === source).map(({ descriptor }) => descriptor);
    const { copiedBytes } = await copyMissingBlobs(source, target, descriptors, {
      signal: options.signal,
      onProgress: ({ done, total }) => onProgress?.({ kind: 'progress', label, done, total }),
    });
    bytes += copiedBytes;
  }
  if (bytes > 0) onProgress?.({ kind: 'finished', label, done: bytes, total: bytes });
  return bytes;
}

function sourceBytes({ manifest }: SourceImage): number {
  return manifest.layers.reduce((sum, layer) => sum + layer.size, manifest.config.size);
}
