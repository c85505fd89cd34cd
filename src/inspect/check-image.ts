import type { Readable } from 'node:stream';
import { sha256Stream } from '../codec/digest.js';
import { useBlob } from '../image/asking-others.js';
import { unpackBootstrapLayer } from '../image/bootstrap-layer.js';
import { descriptorOfBlob, descriptorOfMap, isReference, mapNameOf } from '../image/chunk-map.js';
import { MAX_CONFIG_SIZE, parseImageConfig } from '../image/config.js';
import type { Digest } from '../image/descriptor.js';
import type { FoundManifest } from '../image/find-manifest.js';
import { NYDUS_REF } from '../image/media-types.js';
import { blobLayers, findBootstrapLayer } from '../image/nydus-manifest.js';
import { findManifestOf } from '../image/read-manifest.js';
import { type ImageSource, readSmallBlob } from '../image/source.js';
import { findStartupLayer } from '../image/startup-layer.js';
import { requireReadable } from '../rafs/blob-forms.js';
import { type Bootstrap, parseBootstrap } from '../rafs/bootstrap.js';
import { BootstrapV5 } from '../rafs/v5/bootstrap-v5.js';
import { checkBlob, checkUnusedBlob } from './check-blob.js';
import { type ChunkTable, checkChunkTable, openChunkTable } from './check-chunk-table.js';
import { checkDiffIds, checkFsVersion, checkManifest } from './check-manifest.js';
import { checkMetaArea } from './check-meta-area.js';
import { checkStartupPack } from './check-startup.js';
import { checkTables } from './check-tables.js';
import { checkTree } from './check-tree.js';
import { checkInodesV5, chunkTableOfV5 } from './check-v5.js';
import { checkAgainstSource } from './diff-images.js';
import { createFaultList, type Fault, type FaultList } from './faults.js';
import { openManifest } from './open-image.js';

export interface CheckOptions {
  /** The ordinary image that the image was made of: every name, attribute and byte is compared with it. */
  original?: ImageSource | undefined;
  /** `linux/arm64`; which image of an index. Default: this machine's. */
  platform?: string | undefined;
  signal?: AbortSignal | undefined;
  /** Told how many bytes of the image's blobs have been read, and how many there are. */
  onProgress?: ((done: number, total: number) => void) | undefined;
}

/** What was checked, and what is wrong. */
export interface CheckResult {
  reference: string;
  /** Of the Nydus manifest; undefined if it could not be read. */
  digest: Digest | undefined;
  /** Names in the image, chunks that were decoded, bytes of blobs that were read. */
  names: number;
  chunks: number;
  bytes: number;
  /** In the order in which they were found; at most 1000. */
  faults: Fault[];
  faultCount: number;
  /** What is odd but harms no reader. */
  warnings: string[];
}

/**
 * Checks a whole Nydus image: manifest, configuration, metadata and every byte of every blob. Everything that is wrong is
 * reported, none of it is thrown. Throws UNSUPPORTED for an image of another kind and for forms of blobs that cannot be
 * read, NOT_FOUND if there is no such image, and what the network throws.
 */
export async function checkImage(source: ImageSource, options: CheckOptions): Promise<CheckResult> {
  const { name } = source;
  const { platform, signal, onProgress } = options;
  const faults = createFaultList();
  const counts = { names: 0, chunks: 0, bytes: 0 };
  const top = await source.resolve(signal);
  const found = await faults.guard('manifest', () => findManifestOf(source, top, { platform, signal }));
  if (found) await checkFound(source, { found, signal, counts, onProgress }, faults);
  const { original } = options;
  if (found && original) {
    const image = await faults.guard('content', () => openManifest(source, found, signal));
    if (image) await checkAgainstSource(image, original, { platform, signal, faults });
  }
  return {
    reference: name,
    digest: found?.descriptor.digest,
    ...counts,
    faults: [...faults.faults],
    faultCount: faults.count,
    warnings: faults.warnings,
  };
}

async function checkFound(
  source: ImageSource,
  check: {
    found: FoundManifest;
    signal: AbortSignal | undefined;
    counts: { names: number; chunks: number; bytes: number };
    onProgress: CheckOptions['onProgress'];
  },
  faults: FaultList,
): Promise<void> {
  const { found, signal, counts, onProgress } = check;
  const { manifest } = found;
  const { name } = source;
  const bootstrapLayer = findBootstrapLayer(manifest, name);
  checkManifest(manifest, faults);
  const config = await faults.guard('config', async () =>
    parseImageConfig(
      await readSmallBlob(source, manifest.config, { limit: MAX_CONFIG_SIZE, signal }),
      `${name}: configuration`,
    ),
  );
  const use = async (content: Readable) => {
    const tar = sha256Stream();
    const unpacked = await unpackBootstrapLayer(content, `${name}: bootstrap layer`, tar.update);
    return { ...unpacked, diffId: `sha256:${tar.hex()}` as Digest };
  };
  const { readAgain: onWrong } = faults;
  const layer = await faults.guard('bootstrap', () =>
    useBlob(source, bootstrapLayer, { signal, use, onWrong }),
  );
  const bootstrapDiffId = layer?.diffId;
  if (config) checkDiffIds({ manifest, config, bootstrapDiffId }, faults);
  const bootstrap =
    layer && faults.guard('bootstrap', () => parseBootstrap(layer.bootstrap, `${name}: bootstrap`));
  const layers = blobLayers(manifest);
  const startup = faults.guard('manifest', () => findStartupLayer(manifest, name));
  const read = readingOf([...layers, ...(startup ? [startup.descriptor] : [])], onProgress);
  const used = new Set<string>();
  if (bootstrap) checkFsVersion(manifest, bootstrap.version, faults);
  bootstrap?.blobs.forEach(requireReadable);
  const table =
    layer && bootstrap && faults.guard('bootstrap', () => chunkTableOf(bootstrap, layer.bootstrap));
  if (layer && bootstrap && table) {
    const damaged = createFaultList();
    if (bootstrap.version === 6) {
      checkTables(layer.bootstrap, bootstrap.name, faults);
      checkMetaArea(layer.bootstrap, bootstrap, faults);
    }
    counts.names = checkStructure(bootstrap, table, faults);
    for (const [blobIndex, blob] of bootstrap.blobs.entries()) {
      signal?.throwIfAborted();
      const descriptor = descriptorOfBlob(layers, blob);
      const { digest } = descriptorOfMap(blob, descriptor);
      const blobLayer = layers.find((candidate) => candidate.digest === digest);
      if (!blobLayer) {
        const what = isReference(blob) ? `${digest}, the chunk map of this blob` : 'this blob';
        faults.add('manifest', `no layer is ${what}, which the bootstrap names`, { blob: blob.id });
      } else if (isReference(blob) && blobLayer.annotations?.[NYDUS_REF] !== descriptor.digest) {
        faults.add('manifest', `layer ${digest}: annotation ${NYDUS_REF} is not ${descriptor.digest}`);
      }
      used.add(digest);
      const supplied = layer.blobMetas.get(mapNameOf(blob));
      const result = await checkBlob(
        { source, descriptor, bootstrap, table, blobIndex, supplied, signal, onBytes: read },
        damaged,
      );
      counts.chunks += result.chunks;
      counts.bytes += result.bytes;
    }
    addWithPaths(bootstrap, damaged, faults);
  }
  if (startup && bootstrap) {
    const image = await faults.guard('bootstrap', () => openManifest(source, found, signal));
    if (image) counts.bytes += await checkStartupPack(image, startup, { faults, signal });
    read(startup.descriptor.size);
    used.add(startup.descriptor.digest);
  }
  for (const descriptor of layers) {
    if (used.has(descriptor.digest)) continue;
    counts.bytes += await checkUnusedBlob(source, descriptor, { faults, signal, onBytes: read });
  }
}

/** Adds up the bytes of the blobs `descriptors` that it is told of. */
function readingOf(
  descriptors: readonly { size: number }[],
  onProgress: CheckOptions['onProgress'],
): (bytes: number) => void {
  const total = descriptors.reduce((sum, { size }) => sum + size, 0);
  let done = 0;
  return (bytes) => {
    done += bytes;
    onProgress?.(done, total);
  };
}

function chunkTableOf(bootstrap: Bootstrap, bytes: Buffer): ChunkTable {
  return bootstrap instanceof BootstrapV5 ? chunkTableOfV5(bootstrap) : openChunkTable(bytes, bootstrap.name);
}

function checkStructure(bootstrap: Bootstrap, table: ChunkTable, faults: FaultList): number {
  const { blobs } = bootstrap;
  if (bootstrap instanceof BootstrapV5) checkInodesV5(bootstrap, faults);
  else checkChunkTable(table, bootstrap, faults);
  return checkTree(bootstrap, faults, ({ path, k, size, blobIndex, chunkIndex, decodedOffset }) => {
    const place = { path, blob: blobs[blobIndex]!.id, chunk: chunkIndex };
    const row = table.find(blobIndex, chunkIndex);
    if (!row) {
      faults.add('bootstrap', `chunk ${k} of the file is not in the chunk table`, place);
    } else if (row.size !== size || row.decodedOffset !== decodedOffset) {
      faults.add(
        'bootstrap',
        `chunk ${k} of the file has ${size} bytes at ${decodedOffset}, the chunk table says ${row.size} at ${row.decodedOffset}`,
        place,
      );
    }
  });
}

/** Passes `found` on to `faults`, with the first path that each chunk is in. */
function addWithPaths(bootstrap: Bootstrap, found: FaultList, faults: FaultList): void {
  const key = (blob: string | undefined, chunk: number | undefined) => `${blob} ${chunk}`;
  const paths = new Map<string, string | undefined>();
  for (const { blob, chunk } of found.faults) if (chunk !== undefined) paths.set(key(blob, chunk), undefined);
  if (paths.size > 0) {
    checkTree(bootstrap, createFaultList(), ({ path, blobIndex, chunkIndex }) => {
      const wanted = key(bootstrap.blobs[blobIndex]!.id, chunkIndex);
      if (paths.has(wanted) && paths.get(wanted) === undefined) paths.set(wanted, path);
    });
  }
  for (const { part, message, ...place } of found.faults) {
    const path = paths.get(key(place.blob, place.chunk));
    faults.add(part, message, { ...place, ...(path !== undefined && { path }) });
  }
  faults.warnings.push(...found.warnings);
}
