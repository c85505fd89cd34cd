import { ociDigest } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import type { HistoryEntry, ImageConfig } from './config.js';
import type { Descriptor, Digest } from './descriptor.js';
import { isDigest } from './digest.js';
import type { Manifest } from './manifest.js';
import { NYDUS_BLOB, NYDUS_BLOB_LAYER, STARTUP_TABLE_DIGEST, STARTUP_TABLE_SIZE } from './media-types.js';
import { isStartupHistory, type NydusImage, STARTUP_HISTORY } from './nydus-manifest.js';

/** The start-up pack of an image, as its manifest names it. */
export interface StartupLayer {
  descriptor: Descriptor;
  /** Bytes at its beginning that are its table, and their digest: what is in them vouches for the rest, part by part. */
  tableSize: number;
  tableDigest: Digest;
}

/** True for the layer that is a start-up pack. To other tools it is a data blob that no file refers to. */
export function isStartupLayer({ annotations }: Descriptor): boolean {
  return annotations?.[STARTUP_TABLE_DIGEST] !== undefined;
}

/** The start-up pack of the image `name`, if it has one. MALFORMED if its annotations contradict it. */
export function findStartupLayer(manifest: Manifest, name: string): StartupLayer | undefined {
  const [descriptor, ...more] = manifest.layers.filter(isStartupLayer);
  if (descriptor === undefined) return undefined;
  const fault = (what: string) =>
    new RafterError('MALFORMED', `${name}: start-up pack ${descriptor.digest}: ${what}`);
  if (more.length > 0) throw fault('there is another one');
  const { [STARTUP_TABLE_DIGEST]: tableDigest = '', [STARTUP_TABLE_SIZE]: size = '' } =
    descriptor.annotations ?? {};
  if (!isDigest(tableDigest)) throw fault(`annotation ${STARTUP_TABLE_DIGEST} is no digest`);
  const tableSize = /^[1-9][0-9]{0,15}$/.test(size) ? Number(size) : 0;
  if (tableSize === 0 || tableSize > descriptor.size)
    throw fault(`annotation ${STARTUP_TABLE_SIZE} is no part of its ${descriptor.size} bytes`);
  return { descriptor, tableSize, tableDigest };
}

/**
 * Manifest and configuration of a Nydus image with the start-up pack `pack`, a layer in front of the bootstrap, in place of one that
 * it has. Nothing else changes. Same input, same bytes.
 */
export function withStartupLayer(
  { manifest, config }: { manifest: Manifest; config: ImageConfig },
  pack: { digest: Digest; size: number; tableSize: number; tableDigest: Digest },
): NydusImage {
  const layer: Descriptor = {
    mediaType: NYDUS_BLOB_LAYER,
    digest: pack.digest,
    size: pack.size,
    annotations: {
      [NYDUS_BLOB]: 'true',
      [STARTUP_TABLE_DIGEST]: pack.tableDigest,
      [STARTUP_TABLE_SIZE]: `${pack.tableSize}`,
    },
  };
  const { layers } = manifest;
  const kept = layers.flatMap((old, i) => (isStartupLayer(old) ? [] : [i]));
  const inFrontOfLast = <T>(all: T[], added: T) => [...all.slice(0, -1), added, ...all.slice(-1)];
  // Where the two do not match nobody could tell which diff id is whose.
  const diffIds =
    config.diffIds.length === layers.length
      ? inFrontOfLast(
          kept.map((i) => config.diffIds[i]!),
          pack.digest,
        )
      : config.diffIds;
  const history = addHistory(config.history);
  const configBytes = encode({
    ...config.raw,
    rootfs: { type: 'layers', diff_ids: diffIds },
    ...(config.history.length > 0 && { history }),
  });
  const { data: _, ...named } = manifest.config;
  const descriptor: Descriptor = {
    ...named,
    digest: ociDigest(configBytes),
    size: configBytes.length,
  };
  const bytes = encode({
    ...manifest.raw,
    config: descriptor,
    layers: inFrontOfLast(
      kept.map((i) => layers[i]!),
      layer,
    ),
  });
  return {
    manifest: { bytes, mediaType: manifest.mediaType },
    config: { bytes: configBytes, descriptor },
  };
}

/** The history with one entry for the pack, in front of that of the bootstrap, the last that made a layer. */
function addHistory(history: HistoryEntry[]): HistoryEntry[] {
  const others = history.filter((entry) => !isStartupHistory(entry));
  const last = others.findLastIndex((entry) => !entry.empty_layer);
  return others.toSpliced(Math.max(last, 0), 0, STARTUP_HISTORY);
}

function encode(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
