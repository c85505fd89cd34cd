import { isRafterError } from '../errors.js';
import { MAX_CONFIG_SIZE, parseImageConfig } from '../image/config.js';
import type { Descriptor, Digest } from '../image/descriptor.js';
import type { FoundManifest } from '../image/find-manifest.js';
import type { Index } from '../image/manifest.js';
import { NYDUS_SOURCE_DIGEST, NYDUS_SOURCE_REFERENCE } from '../image/media-types.js';
import { isNydusManifest } from '../image/nydus-manifest.js';
import { formatPlatform } from '../image/platform.js';
import { findManifestOf, readManifest } from '../image/read-manifest.js';
import { type ImageSource, readSmallBlob } from '../image/source.js';
import { isStartupLayer } from '../image/startup-layer.js';
import { BlobFeature } from '../rafs/blob-features.js';
import { decodeFlags } from '../rafs/flags.js';
import type { InodeType } from '../rafs/tree.js';
import { walk } from '../rafs/walk.js';
import { type OpenImage, openManifest } from './open-image.js';

/** What one manifest of an index is for. */
interface IndexEntry {
  digest: Digest;
  mediaType: string;
  size: number;
  /** `linux/arm64`; undefined where the index names none. */
  platform: string | undefined;
  artifactType: string | undefined;
}

export interface IndexDescription {
  kind: 'index';
  reference: string;
  digest: Digest;
  mediaType: string;
  manifests: IndexEntry[];
  annotations: Record<string, string>;
}

/** One blob of a Nydus image. Sizes in bytes. */
interface BlobDescription {
  id: string;
  storedSize: number;
  decodedSize: number;
  chunks: number;
  compressor: string;
  digester: string;
  /** Names of feature bits. */
  features: string[];
}

/** What a Nydus image's metadata says. Sizes in bytes. */
interface NydusDescription {
  /** Why the metadata cannot be read by this version; then nothing else is here. */
  problem?: string;
  fsVersion?: number;
  chunkSize?: number;
  compressor?: string;
  digester?: string;
  bootstrapSize?: number;
  /** Names in the image by type. */
  names?: Partial<Record<InodeType, number>>;
  /** Bytes of all files; one with several names counts once. */
  contentSize?: number;
  chunks?: number;
  blobs?: BlobDescription[];
  /** Files and directories whose data a reader should fetch first. */
  prefetch?: string[];
  /** Data of the start in order of first use: a layer that `rafter optimize` added. Bytes as stored. */
  startupPack?: { digest: Digest; size: number };
  source?: { reference: string | undefined; digest: string | undefined };
}

export interface ImageDescription {
  kind: 'nydus' | 'oci' | 'artifact';
  reference: string;
  digest: Digest;
  mediaType: string;
  artifactType?: string | undefined;
  platform?: string;
  created?: unknown;
  config?: {
    user: string;
    workingDir: string;
    entrypoint: string[];
    cmd: string[];
    env: string[];
    labels: Record<string, string>;
  };
  layers: { digest: Digest; mediaType: string; size: number }[];
  /** Bytes of configuration and layers as stored. */
  size: number;
  annotations: Record<string, string>;
  nydus?: NydusDescription;
}

export interface InspectOptions {
  /** `linux/arm64`; which image of an index. */
  platform?: string | undefined;
  signal?: AbortSignal | undefined;
}

const IMAGE_CONFIG = /^application\/vnd\.(oci\.image\.config\.v1|docker\.container\.image\.v1)\+json$/;

/**
 * Describes what the source names: an index as such unless a platform is given, else one image. No layer is read but the
 * bootstrap of a Nydus image. Throws what source and readers throw.
 */
export async function describe(
  source: ImageSource,
  options: InspectOptions,
): Promise<IndexDescription | ImageDescription> {
  const top = await source.resolve(options.signal);
  if (options.platform === undefined) {
    const parsed = await readManifest(source, top, options.signal);
    return parsed.kind === 'index'
      ? describeIndex(source, top, parsed)
      : describeManifest(source, { descriptor: top, manifest: parsed }, options);
  }
  return describeManifest(source, await findManifestOf(source, top, options), options);
}

/** The bytes of the manifest or index that the source names, of the platform's manifest if one is given. */
export async function readRawManifest(source: ImageSource, options: InspectOptions): Promise<Buffer> {
  const top = await source.resolve(options.signal);
  const wanted =
    options.platform === undefined ? top : (await findManifestOf(source, top, options)).descriptor;
  return source.readManifest(wanted, options.signal);
}

/** The bytes of the image's configuration, of this machine's platform if there are several and none is given. */
export async function readRawConfig(source: ImageSource, options: InspectOptions): Promise<Buffer> {
  const { manifest } = await findManifestOf(source, await source.resolve(options.signal), options);
  return readSmallBlob(source, manifest.config, { limit: MAX_CONFIG_SIZE, signal: options.signal });
}

function describeIndex(source: ImageSource, { digest }: Descriptor, index: Index): IndexDescription {
  return {
    kind: 'index',
    reference: source.name,
    digest,
    mediaType: index.mediaType,
    manifests: index.manifests.map(({ digest, mediaType, size, platform, artifactType }) => ({
      digest,
      mediaType,
      size,
      platform: platform && formatPlatform(platform),
      artifactType,
    })),
    annotations: index.annotations ?? {},
  };
}

async function describeManifest(
  source: ImageSource,
  found: FoundManifest,
  { signal }: InspectOptions,
): Promise<ImageDescription> {
  const { descriptor, manifest } = found;
  const nydus = isNydusManifest(manifest);
  const isImage = nydus || IMAGE_CONFIG.test(manifest.config.mediaType);
  const basics: ImageDescription = {
    kind: nydus ? 'nydus' : isImage ? 'oci' : 'artifact',
    reference: source.name,
    digest: descriptor.digest,
    mediaType: manifest.mediaType,
    artifactType: manifest.artifactType ?? (isImage ? undefined : manifest.config.mediaType),
    layers: manifest.layers.map(({ digest, mediaType, size }) => ({ digest, mediaType, size })),
    size: manifest.layers.reduce((sum, { size }) => sum + size, manifest.config.size),
    annotations: manifest.annotations ?? {},
  };
  if (!isImage) return basics;
  const opened = nydus ? await openOrExplain(source, found, signal) : undefined;
  const config =
    opened && 'config' in opened
      ? opened.config
      : parseImageConfig(
          await readSmallBlob(source, manifest.config, { limit: MAX_CONFIG_SIZE, signal }),
          `${source.name}: configuration`,
        );
  const { User, WorkingDir, Entrypoint, Cmd, Env, Labels } = config.config;
  return {
    ...basics,
    platform: formatPlatform(config),
    created: config.raw.created,
    config: {
      user: User ?? '',
      workingDir: WorkingDir ?? '',
      entrypoint: Entrypoint ?? [],
      cmd: Cmd ?? [],
      env: Env ?? [],
      labels: Labels ?? {},
    },
    ...(opened && { nydus: 'problem' in opened ? opened : describeRafs(opened) }),
  };
}

/** An image in a form that this version does not read is described without what only its bootstrap tells. */
async function openOrExplain(
  source: ImageSource,
  found: FoundManifest,
  signal: AbortSignal | undefined,
): Promise<OpenImage | { problem: string }> {
  try {
    return await openManifest(source, found, signal);
  } catch (error) {
    if (!isRafterError(error, 'UNSUPPORTED')) throw error;
    return { problem: error.message };
  }
}

function describeRafs(image: OpenImage): NydusDescription {
  const { bootstrap, manifest } = image;
  const names: Partial<Record<InodeType, number>> = {};
  const prefetchNids = new Map(bootstrap.prefetchNids.map((nid, rank) => [nid, rank]));
  const prefetch: string[] = [];
  const linked = new Set<number>();
  let contentSize = 0;
  for (const { path, inode } of walk(bootstrap)) {
    names[inode.type] = (names[inode.type] ?? 0) + 1;
    const rank = prefetchNids.get(inode.nid);
    if (rank !== undefined) prefetch[rank] ??= path.toString();
    if (inode.type !== 'file' || linked.has(inode.nid)) continue;
    if (inode.nlink > 1) linked.add(inode.nid);
    contentSize += inode.size;
  }
  const flags = decodeFlags(bootstrap.flags);
  const { annotations } = manifest;
  const pack = manifest.layers.find(isStartupLayer);
  return {
    fsVersion: bootstrap.version,
    chunkSize: bootstrap.chunkSize,
    ...(typeof flags === 'object' && { compressor: flags.compressor, digester: flags.digester }),
    bootstrapSize: image.bootstrapSize,
    names,
    contentSize,
    chunks: bootstrap.blobs.reduce((sum, { chunkCount }) => sum + chunkCount, 0),
    blobs: bootstrap.blobs.map((blob) => ({
      id: blob.id,
      storedSize: image.descriptorOf(blob).size,
      decodedSize: blob.uncompressedSize,
      chunks: blob.chunkCount,
      compressor: blob.compressor,
      digester: blob.digester,
      features: Object.entries(BlobFeature)
        .filter(([, bit]) => (blob.features & bit) !== 0)
        .map(([name]) => name.toLowerCase().replaceAll('_', '-')),
    })),
    prefetch: prefetch.filter((path) => path !== undefined),
    ...(pack && { startupPack: { digest: pack.digest, size: pack.size } }),
    source: {
      reference: annotations?.[NYDUS_SOURCE_REFERENCE],
      digest: annotations?.[NYDUS_SOURCE_DIGEST],
    },
  };
}
