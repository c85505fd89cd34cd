import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { isRafterError, messageOf, RafterError } from '../errors.js';
import { unpackBootstrapLayer } from '../image/bootstrap-layer.js';
import { type ImageConfig, parseImageConfig } from '../image/config.js';
import { type Descriptor, type Digest, hexOf } from '../image/descriptor.js';
import { type Index, type Manifest, parseManifest } from '../image/manifest.js';
import { NYDUS_BLOB_LAYER } from '../image/media-types.js';
import { blobLayers, findBootstrapLayer, isNydusManifest } from '../image/nydus-manifest.js';
import { selectPlatform } from '../image/platform.js';
import type { ImageSource } from '../image/source.js';
import { BlobMeta } from '../rafs/blob-meta.js';
import { Bootstrap, type RafsBlob } from '../rafs/bootstrap.js';
import type { ImageStore } from './image-store.js';

/** Bytes of the header that follows a blob's stored chunk map. */
const MAP_HEADER_SIZE = 4096;
/** Most bytes of one blob's chunk map: some millions of chunks. */
const MAX_MAP_SIZE = 256 << 20;

/** How long a source may take to resolve a reference whose last meaning is known, in milliseconds. */
const RESOLVE_PATIENCE = 5_000;

export interface OpenOptions {
  source: ImageSource;
  store: ImageStore;
  /** Canonical text of the reference. */
  reference: string;
  /** `linux/arm64`; default is this machine's. */
  platform?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** Everything of an image that a mount needs before the first file is read. */
export interface NydusImage {
  /** Digest of the Nydus manifest. */
  digest: Digest;
  config: ImageConfig;
  bootstrap: Bootstrap;
  /** One per entry of the bootstrap's blob table, in its order. */
  blobs: { descriptor: Descriptor; map: BlobMeta }[];
  /** Bytes of all layers as stored in the registry. */
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
export async function openNydusImage(options: OpenOptions): Promise<NydusImage> {
  const { source } = options;
  const fetcher = createFetcher(options);
  const top = await resolveReference(options, fetcher);
  const { descriptor, manifest } = await findManifest(top, options, fetcher);
  const bootstrapLayer = findBootstrapLayer(manifest, source.name);
  const [configBytes, layer] = await Promise.all([
    fetcher.blob(manifest.config),
    fetcher.bootstrapLayer(bootstrapLayer),
  ]);
  const bootstrap = Bootstrap.parse(layer.bootstrap, `${source.name}: bootstrap`);
  const layers = blobLayers(manifest);
  const blobs = bootstrap.blobs.map(async (blob) => {
    const descriptor = layers.find((candidate) => hexOf(candidate.digest) === blob.id) ?? looseBlob(blob);
    return { descriptor, map: await fetcher.map(blob, descriptor, layer.blobMetas.get(blob.id)) };
  });
  return {
    digest: descriptor.digest,
    config: parseImageConfig(configBytes, `${source.name}: configuration`),
    bootstrap,
    blobs: await Promise.all(blobs),
    imageSize: manifest.layers.reduce((sum, { size }) => sum + size, 0),
    metadataBytes: fetcher.downloaded(),
    warnings: fetcher.warnings,
  };
}

/** A blob that the bootstrap names and no layer is: it is looked for in the same repository. */
function looseBlob(blob: RafsBlob): Descriptor {
  return { mediaType: NYDUS_BLOB_LAYER, digest: `sha256:${blob.id}`, size: blob.compressedSize };
}

/**
 * Asks the source what the reference means. Where an earlier answer is known, the source gets RESOLVE_PATIENCE to say so
 * again: a mount of an image that is here should not wait for a registry that is gone.
 */
async function resolveReference(options: OpenOptions, fetcher: Fetcher): Promise<Descriptor> {
  const { source, store, reference, signal } = options;
  const known = await store.recallReference(reference);
  const patience = known && AbortSignal.timeout(RESOLVE_PATIENCE);
  try {
    const descriptor = await source.resolve(joinSignals(signal, patience));
    await store.rememberReference(reference, descriptor);
    return descriptor;
  } catch (error) {
    if (known === undefined || signal?.aborted) throw error;
    if (!patience?.aborted && !isRafterError(error, 'UNAVAILABLE')) throw error;
    const reason = patience?.aborted
      ? `${source.name}: no answer within ${RESOLVE_PATIENCE / 1000} s`
      : messageOf(error);
    fetcher.warnings.push(`${reason}; using ${known.digest}, which ${reference} meant last`);
    return known;
  }
}

function joinSignals(...signals: (AbortSignal | undefined)[]): AbortSignal | undefined {
  const given = signals.filter((signal) => signal !== undefined);
  return given.length === 0 ? undefined : AbortSignal.any(given);
}

/** The Nydus manifest that `top` is or, if it is an index, has for the platform. */
async function findManifest(
  top: Descriptor,
  options: OpenOptions,
  fetcher: Fetcher,
): Promise<{ descriptor: Descriptor; manifest: Manifest }> {
  const parsed = await fetcher.manifest(top);
  if (parsed.kind === 'manifest') return { descriptor: top, manifest: parsed };
  let index: Index = parsed;
  for (;;) {
    const descriptor = selectPlatform(index, options.platform, { prefer: 'nydus' });
    const manifest = await fetcher.manifest(descriptor);
    if (manifest.kind === 'index')
      throw new RafterError('UNSUPPORTED', `${options.source.name}: an index inside an index`);
    if (isNydusManifest(manifest)) return { descriptor, manifest };
    // Not every tool marks the index entry, so the other manifests of the platform are looked at too.
    const others = index.manifests.filter((entry) => entry !== descriptor);
    if (!hasPlatform({ ...index, manifests: others }, options.platform)) return { descriptor, manifest };
    index = { ...index, manifests: others };
  }
}

function hasPlatform(index: Index, platform: string | undefined): boolean {
  try {
    return selectPlatform(index, platform, { prefer: 'nydus' }).platform !== undefined;
  } catch (error) {
    if (isRafterError(error, 'NOT_FOUND')) return false;
    throw error;
  }
}

type Fetcher = ReturnType<typeof createFetcher>;

/** Reads from the store, or from the source and then keeps it; counts what was downloaded. */
function createFetcher({ source, store, signal }: OpenOptions) {
  let downloaded = 0;
  const warnings: string[] = [];

  async function readManifest(descriptor: Descriptor): Promise<Buffer> {
    const kept = await store.readBlob(descriptor);
    if (kept !== undefined) return kept;
    const bytes = await source.readManifest(descriptor, signal);
    downloaded += bytes.length;
    await keep(descriptor, bytes);
    return bytes;
  }

  async function openBlob(descriptor: Descriptor): Promise<Readable> {
    const kept = await store.openBlob(descriptor);
    if (kept !== undefined) return kept;
    await store.writeBlob(descriptor, await source.openBlob(descriptor, signal));
    downloaded += descriptor.size;
    const written = await store.openBlob(descriptor);
    if (written === undefined) throw new Error(`${descriptor.digest} vanished from the image store`);
    return written;
  }

  async function keep(descriptor: Descriptor, bytes: Buffer): Promise<void> {
    await store.writeBlob(descriptor, Readable.from([bytes], { objectMode: false }));
  }

  /** Reads a kept blob; if that turns out to be damaged, fetches it again, once. */
  async function reading<T>(descriptor: Descriptor, use: (content: Readable) => Promise<T>): Promise<T> {
    try {
      return await use(await openBlob(descriptor));
    } catch (error) {
      if (!isRafterError(error, 'DIGEST_MISMATCH', 'TRUNCATED')) throw error;
      await store.removeBlob(descriptor);
      return await use(await openBlob(descriptor));
    }
  }

  /**
   * The chunk map that the bootstrap layer brings along. nydusify 2.4 writes only its last page if the blob is LZ4, so one
   * that is no map is left aside: the blob has it too.
   */
  function suppliedMap(file: Buffer, blob: RafsBlob): BlobMeta | undefined {
    try {
      return BlobMeta.parseFile(file, blob);
    } catch (error) {
      if (!isRafterError(error, 'MALFORMED')) throw error;
      return undefined;
    }
  }

  async function storedMap(blob: RafsBlob, descriptor: Descriptor): Promise<BlobMeta> {
    const kept = await store.readMap(blob.id);
    if (kept !== undefined) {
      try {
        return BlobMeta.parseStored(kept, blob);
      } catch (error) {
        if (!isRafterError(error)) throw error;
        await store.removeMap(blob.id);
      }
    }
    const size = blob.ci.compressedSize + MAP_HEADER_SIZE;
    if (size > MAX_MAP_SIZE)
      throw new RafterError('LIMIT_EXCEEDED', `blob ${blob.id}: a chunk map of ${size} bytes`);
    const bytes = await source.readBlobRange(descriptor, blob.ci.offset, size, signal);
    downloaded += bytes.length;
    const map = BlobMeta.parseStored(bytes, blob);
    await store.writeMap(blob.id, bytes);
    return map;
  }

  return {
    warnings,
    downloaded: () => downloaded,
    manifest: async (descriptor: Descriptor) =>
      parseManifest(
        await readManifest(descriptor),
        `${source.name}: ${descriptor.digest}`,
        descriptor.mediaType,
      ),
    blob: (descriptor: Descriptor) => reading(descriptor, buffer),
    bootstrapLayer: (descriptor: Descriptor) =>
      reading(descriptor, (content) => unpackBootstrapLayer(content, `${source.name}: bootstrap layer`)),
    map: async (blob: RafsBlob, descriptor: Descriptor, file: Buffer | undefined) =>
      (file && suppliedMap(file, blob)) ?? storedMap(blob, descriptor),
  };
}
