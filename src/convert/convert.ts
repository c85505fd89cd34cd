import { PackPool } from '../codec/pack-pool.js';
import { RafterError } from '../errors.js';
import { packBootstrapLayer } from '../image/bootstrap-layer.js';
import type { ImageConfig } from '../image/config.js';
import { type Descriptor, type Digest, hexOf } from '../image/descriptor.js';
import { buildNydusManifest } from '../image/nydus-manifest.js';
import { formatPlatform, hostPlatform, parsePlatform } from '../image/platform.js';
import { parseReference } from '../image/reference.js';
import type { ImageSource } from '../image/source.js';
import type { ImageTarget } from '../image/target.js';
import { buildBootstrap } from '../rafs/bootstrap-builder.js';
import type { TreeNode } from '../rafs/tree.js';
import type { PackStats } from './blob-packer.js';
import { ChunkIndex } from './chunk-index.js';
import { convertLayer, type LayerResult } from './layer-converter.js';
import { collectLosses } from './losses.js';
import { type CheckedOptions, type ConvertOptions, checkOptions } from './options.js';
import { emptyTree } from './overlay.js';
import { readSourceImage, type SourceImage } from './source-image.js';

export interface ConvertRequest {
  source: ImageSource;
  target: ImageTarget;
  /** The source as the user named it; goes into an annotation unless it is a directory or file of this machine. */
  sourceReference: string;
  /** `linux/arm64`, ...: which image of an index. Default: that of this machine. */
  platform?: string;
  options?: ConvertOptions;
  onProgress?: (event: ProgressEvent) => void;
}

/** A step that goes on or has ended. `done` and `total` are bytes. */
interface ProgressEvent {
  kind: 'progress' | 'finished';
  label: string;
  done: number;
  total?: number;
}

interface LayerSummary extends PackStats {
  sourceDigest: Digest;
  /** Compressed bytes at the source, and bytes of the tar in it. */
  sourceBytes: number;
  tarBytes: number;
  entries: number;
  /** The blob made of it; undefined for a layer without new content. */
  blobDigest: Digest | undefined;
  blobBytes: number;
  seconds: number;
}

export interface ConvertSummary {
  platform: string;
  /** The image's manifest; bytes of its config and layers. */
  source: { digest: Digest; bytes: number };
  target: { digest: Digest; bytes: number };
  layers: LayerSummary[];
  bootstrapBytes: number;
  /** What was left out. */
  warnings: string[];
  seconds: { manifest: number; layers: number; bootstrap: number; publish: number; total: number };
}

/**
 * Converts one image to a Nydus image (RAFS v6) at the target: a blob per layer, one bootstrap over all of them. The same
 * source and options give the same bytes. After an error or an abort nothing is visible at the target. Throws USAGE for
 * options, UNSUPPORTED for images that cannot be converted, INTERRUPTED after an abort, and what source, target,
 * layers (`convertLayer`) and the format throw.
 */
export async function convertImage(request: ConvertRequest): Promise<ConvertSummary> {
  const options = checkOptions(request.options ?? {});
  const { target } = request;
  const pool = new PackPool({ threads: options.jobs });
  try {
    return await convert(request, options, pool);
  } catch (error) {
    await target.abort();
    if (!options.signal?.aborted) throw error;
    throw new RafterError('INTERRUPTED', `converting ${request.source.name} was interrupted`, {
      cause: error,
    });
  } finally {
    await pool.close();
  }
}

async function convert(
  request: ConvertRequest,
  options: CheckedOptions,
  pool: PackPool,
): Promise<ConvertSummary> {
  const { source, target } = request;
  const clock = startClock();
  const platform = request.platform === undefined ? hostPlatform() : parsePlatform(request.platform);
  const image = await readSourceImage(source, platform, options.signal);
  clock.lap('manifest');

  const root = emptyTree();
  const losses = collectLosses(options.lossy);
  const shared = { source, target, root, index: new ChunkIndex(), pool, options, losses };
  const results: LayerResult[] = [];
  const layers: LayerSummary[] = [];
  for (const [i, descriptor] of image.manifest.layers.entries()) {
    const startedAt = performance.now();
    const label = `layer ${i + 1} of ${image.manifest.layers.length}`;
    const result = await convertLayer(shared, {
      descriptor,
      diffId: image.config.diffIds[i]!,
      name: `${source.name}: ${label} (${descriptor.digest})`,
      onBytes: (done) => request.onProgress?.({ kind: 'progress', label, done }),
    });
    request.onProgress?.({ kind: 'finished', label, done: result.tarBytes, total: result.tarBytes });
    results.push(result);
    layers.push(summarizeLayer(descriptor, result, performance.now() - startedAt));
  }
  clock.lap('layers');

  const bootstrap = await storeBootstrap(target, root, results, options);
  clock.lap('bootstrap');

  const nydus = buildNydusManifest({
    source: image.manifest,
    config: image.config,
    sourceDigest: image.descriptor.digest,
    sourceReference: publicReference(request.sourceReference),
    blobs: results.map(({ blob }) => blob),
    bootstrap,
  });
  await storeBytes(target, nydus.config.bytes, options.signal);
  const manifest = await target.putManifest(nydus.manifest.bytes, nydus.manifest.mediaType, {
    tag: true,
    signal: options.signal,
  });
  await target.commit();
  clock.lap('publish');

  const blobBytes = layers.reduce((sum, layer) => sum + layer.blobBytes, 0);
  return {
    platform: formatPlatform(platformOf(image.config)),
    source: { digest: image.descriptor.digest, bytes: sourceBytes(image) },
    target: { digest: manifest.digest, bytes: blobBytes + bootstrap.size + nydus.config.bytes.length },
    layers,
    bootstrapBytes: bootstrap.rawSize,
    warnings: losses.warnings(),
    seconds: clock.seconds(),
  };
}

async function storeBootstrap(
  target: ImageTarget,
  root: TreeNode,
  layers: LayerResult[],
  { chunkSize, compressor, digester, prefetch, signal }: CheckedOptions,
) {
  const blobs = layers.flatMap(({ blob }) => (blob ? [blob] : []));
  const bootstrap = buildBootstrap({
    root,
    blobs: blobs.map(({ ref }) => ref),
    chunkSize,
    compressor,
    digester,
    prefetch: prefetch.map((path) => Buffer.from(path)),
  });
  const { bytes, diffId } = await packBootstrapLayer({
    bootstrap,
    blobMetas: blobs.map(({ digest, meta }) => ({ layerHex: hexOf(digest), bytes: meta })),
  });
  return { ...(await storeBytes(target, bytes, signal)), diffId, rawSize: bootstrap.length };
}

async function storeBytes(
  target: ImageTarget,
  bytes: Buffer,
  signal: AbortSignal | undefined,
): Promise<{ digest: Digest; size: number }> {
  const writer = await target.createBlob(signal);
  try {
    await writer.write(bytes);
    return await writer.commit();
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

/** A directory's name means nothing on another machine and would make the image's bytes depend on it. */
function publicReference(text: string): string | undefined {
  const reference = parseReference(text);
  return reference.transport === 'registry' ? text : undefined;
}

function platformOf({ os, architecture, variant }: ImageConfig) {
  return { os, architecture, ...(variant !== undefined && { variant }) };
}

function sourceBytes({ manifest }: SourceImage): number {
  return manifest.layers.reduce((sum, layer) => sum + layer.size, manifest.config.size);
}

function summarizeLayer(source: Descriptor, result: LayerResult, ms: number): LayerSummary {
  return {
    sourceDigest: source.digest,
    sourceBytes: source.size,
    tarBytes: result.tarBytes,
    entries: result.entries,
    ...result.stats,
    blobDigest: result.blob?.digest,
    blobBytes: result.blob?.size ?? 0,
    seconds: ms / 1000,
  };
}

type Phase = Exclude<keyof ConvertSummary['seconds'], 'total'>;

/** Measures how long each phase took. */
function startClock() {
  const startedAt = performance.now();
  let lapAt = startedAt;
  const phases = { manifest: 0, layers: 0, bootstrap: 0, publish: 0 };
  return {
    lap: (phase: Phase) => {
      const now = performance.now();
      phases[phase] = (now - lapAt) / 1000;
      lapAt = now;
    },
    seconds: () => ({ ...phases, total: (performance.now() - startedAt) / 1000 }),
  };
}
