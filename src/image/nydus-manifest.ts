import { ociDigest } from '../codec/digest.js';
import { RafterError } from '../errors.js';
import type { HistoryEntry, ImageConfig } from './config.js';
import type { Descriptor, Digest } from './descriptor.js';
import type { JsonObject } from './json.js';
import type { Manifest } from './manifest.js';
import {
  DOCKER_LAYER_GZIP,
  DOCKER_MANIFEST,
  NYDUS_BLOB,
  NYDUS_BLOB_LAYER,
  NYDUS_BOOTSTRAP,
  NYDUS_CONFIG,
  NYDUS_FS_VERSION,
  NYDUS_SOURCE_DIGEST,
  NYDUS_SOURCE_REFERENCE,
  OCI_LAYER_GZIP,
} from './media-types.js';

/** End of the media type of a layer that is encrypted as a whole (ocicrypt). */
const ENCRYPTED_SUFFIX = '+encrypted';

/** RAFS version that images are written in, as its annotation says it. */
const FS_VERSION = '6';

/** Start of the annotation keys of Nydus images. */
const NYDUS_ANNOTATIONS = 'containerd.io/snapshot/nydus-';
const NYDUS_CREATOR = 'Nydus Converter';
/** The history entries of layers that the source does not have. */
const BOOTSTRAP_HISTORY: HistoryEntry = { created_by: NYDUS_CREATOR, comment: 'Nydus Bootstrap Layer' };
const DICTIONARY_HISTORY: HistoryEntry = {
  created_by: NYDUS_CREATOR,
  comment: 'Nydus Chunk Dictionary Blob',
};
/** The history entry of a start-up pack. */
export const STARTUP_HISTORY: HistoryEntry = { created_by: 'rafter optimize', comment: 'Start-up Pack Blob' };

/** A stored blob: digest and bytes. */
type Stored = Pick<Descriptor, 'digest' | 'size'>;

export interface NydusImageParts {
  /** Manifest and configuration of the image that was converted. */
  source: Manifest;
  config: ImageConfig;
  /** Of the source manifest. */
  sourceDescriptor: Pick<Descriptor, 'mediaType' | 'digest' | 'size'>;
  /** Name of the source image; leave it out for one that means nothing elsewhere, such as a directory. */
  sourceReference?: string | undefined;
  /** One per layer of the source, in its order: the blob made from it, or undefined if the layer has no file data. */
  blobs: (Stored | undefined)[];
  /** Blobs of other images that this one shares chunks with, in the order of the blob table. */
  dictionaryBlobs?: readonly Stored[] | undefined;
  /** The bootstrap layer (see `packBootstrapLayer`). */
  bootstrap: Stored & { diffId: Digest };
  /** Makes the image a referrer of its source: the source manifest becomes its subject. */
  withReferrer?: boolean | undefined;
  /** The image is to stand beside its source in one index, so its configuration gets a type that only Nydus tools know. */
  merged?: boolean | undefined;
}

/** A Nydus image's two JSON documents, ready to be stored; `config` goes first, as a blob. */
export interface NydusImage {
  manifest: { bytes: Buffer; mediaType: string };
  config: { bytes: Buffer; descriptor: Descriptor };
}

/**
 * Builds manifest and configuration of a Nydus image. Both are the source's with its layers replaced: every other member,
 * annotation and history entry is kept. Layers are the blobs in source order, then those of other images, then the bootstrap; the
 * diff ids are the blobs' own digests, then the bootstrap tar's. Same input, same bytes.
 */
export function buildNydusManifest(parts: NydusImageParts): NydusImage {
  const { source, blobs, bootstrap } = parts;
  if (blobs.length !== source.layers.length) {
    throw new Error(`${blobs.length} blobs for ${source.layers.length} layers`);
  }
  const configBytes = encode(buildConfig(parts));
  const descriptor: Descriptor = {
    mediaType: parts.merged ? NYDUS_CONFIG : source.config.mediaType,
    digest: ociDigest(configBytes),
    size: configBytes.length,
  };
  const { mediaType, digest, size } = parts.sourceDescriptor;
  const manifest = {
    ...source.raw,
    mediaType: source.mediaType,
    config: descriptor,
    layers: [...storedBlobs(parts).map(blobLayer), bootstrapLayer(source, bootstrap)],
    annotations: {
      ...source.annotations,
      [NYDUS_FS_VERSION]: FS_VERSION,
      [NYDUS_SOURCE_DIGEST]: digest,
      ...(parts.sourceReference === undefined ? {} : { [NYDUS_SOURCE_REFERENCE]: parts.sourceReference }),
    },
    ...(parts.withReferrer && { subject: { mediaType, digest, size } }),
  };
  return {
    manifest: { bytes: encode(manifest), mediaType: source.mediaType },
    config: { bytes: configBytes, descriptor },
  };
}

/** True if the manifest's last layer is a Nydus bootstrap. */
export function isNydusManifest(manifest: Manifest): boolean {
  return manifest.layers.at(-1)?.annotations?.[NYDUS_BOOTSTRAP] !== undefined;
}

/**
 * The bootstrap layer of a Nydus manifest; UNSUPPORTED, with a hint, if it is another image, or one whose bootstrap layer is
 * encrypted. `name` is the image's.
 */
export function findBootstrapLayer(manifest: Manifest, name: string): Descriptor {
  const last = manifest.layers.at(-1);
  if (last?.mediaType.endsWith(ENCRYPTED_SUFFIX) && isNydusManifest(manifest)) {
    throw new RafterError(
      'UNSUPPORTED',
      `${name}: the bootstrap layer ${last.digest} is encrypted (ocicrypt), and with it the keys of all blobs`,
      { hint: 'decrypt it first: skopeo copy --decryption-key PRIVATE_KEY' },
    );
  }
  if (last !== undefined && isNydusManifest(manifest)) return last;
  throw new RafterError('UNSUPPORTED', `${name}: not a Nydus image`, {
    hint: 'make one of it with rafter convert',
  });
}

/** The layers of a Nydus manifest that hold data blobs, in manifest order. */
export function blobLayers(manifest: Manifest): Descriptor[] {
  return manifest.layers.filter(
    ({ mediaType, annotations }) => mediaType === NYDUS_BLOB_LAYER || annotations?.[NYDUS_BLOB] !== undefined,
  );
}

/** True for the annotations that only Nydus images have. */
export function isNydusAnnotation(key: string): boolean {
  return key.startsWith(NYDUS_ANNOTATIONS);
}

/** True for the history entries of layers that the conversion added. */
export function isNydusHistory(entry: HistoryEntry): boolean {
  return [BOOTSTRAP_HISTORY, DICTIONARY_HISTORY, STARTUP_HISTORY].some((added) => isSame(added, entry));
}

/** True for the history entry of a start-up pack. */
export function isStartupHistory(entry: HistoryEntry): boolean {
  return isSame(STARTUP_HISTORY, entry);
}

function isSame(one: HistoryEntry, other: HistoryEntry): boolean {
  return one.created_by === other.created_by && one.comment === other.comment;
}

function blobLayer({ digest, size }: Stored): Descriptor {
  return { mediaType: NYDUS_BLOB_LAYER, digest, size, annotations: { [NYDUS_BLOB]: 'true' } };
}

function bootstrapLayer(source: Manifest, { digest, size }: Stored): Descriptor {
  return {
    mediaType: source.mediaType === DOCKER_MANIFEST ? DOCKER_LAYER_GZIP : OCI_LAYER_GZIP,
    digest,
    size,
    annotations: { [NYDUS_BOOTSTRAP]: 'true', [NYDUS_FS_VERSION]: FS_VERSION },
  };
}

function storedBlobs({ blobs, dictionaryBlobs = [] }: NydusImageParts): Stored[] {
  return [...blobs.filter((blob) => blob !== undefined), ...dictionaryBlobs];
}

function buildConfig(parts: NydusImageParts): JsonObject {
  const { config, blobs, dictionaryBlobs = [], bootstrap } = parts;
  const digests = storedBlobs(parts).map(({ digest }) => digest);
  return {
    ...config.raw,
    rootfs: { type: 'layers', diff_ids: [...digests, bootstrap.diffId] },
    history: [
      ...markEmptyLayers(config.history, blobs),
      ...dictionaryBlobs.map(() => DICTIONARY_HISTORY),
      BOOTSTRAP_HISTORY,
    ],
  };
}

/**
 * Readers pair the history entries that are not empty with the layers, in order. A layer that became no blob must not have such
 * an entry any more. A history that did not match before is left as it is.
 */
function markEmptyLayers(history: HistoryEntry[], blobs: (Stored | undefined)[]): HistoryEntry[] {
  if (history.filter((entry) => !entry.empty_layer).length !== blobs.length) return history;
  const remaining = [...blobs];
  return history.map((entry) => {
    if (entry.empty_layer) return entry;
    return remaining.shift() === undefined ? { ...entry, empty_layer: true } : entry;
  });
}

function encode(value: unknown): Buffer {
  return Buffer.from(JSON.stringify(value));
}
