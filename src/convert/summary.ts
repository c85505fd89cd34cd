import type { Descriptor, Digest } from '../image/descriptor.js';
import type { PackStats } from './blob-packer.js';
import type { DictionaryBlob } from './chunk-dictionary.js';
import type { LayerResult } from './layer-converter.js';

export interface LayerSummary extends PackStats {
  sourceDigest: Digest;
  /** Compressed bytes at the source, and bytes of the tar in it. */
  sourceBytes: number;
  tarBytes: number;
  entries: number;
  /** The blob made of it; undefined for a layer without new content. */
  blobDigest: Digest | undefined;
  blobBytes: number;
  /** The layer was not read: it had been converted before, and the target has its blob. */
  reused: boolean;
  seconds: number;
}

/** What an image takes from its chunk dictionary; all 0 without one. */
interface DictionarySummary {
  /** Chunks that were not stored as the dictionary has them, and their raw bytes. */
  chunks: number;
  bytes: number;
  /** The dictionary's blobs that the image refers to, and their bytes. */
  blobs: number;
  blobBytes: number;
  /** Bytes of those that had to be copied to the target. */
  copiedBytes: number;
}

/** What became of one image. Bytes are those of its config and layers. */
export interface ImageSummary {
  platform: string;
  /** Of the manifests. */
  source: { digest: Digest; bytes: number };
  target: { digest: Digest; bytes: number };
  layers: LayerSummary[];
  reusedLayers: number;
  dictionary: DictionarySummary;
  bootstrapBytes: number;
  /** Files that a container of the image was found to read first, and their bytes. */
  startup: { files: number; bytes: number };
  /** What was left out. */
  warnings: string[];
}

/**
 * What a conversion did. Of several images, `platform` names all, `digest` is that of the index at the source and the
 * target, and everything else is the sum; what was taken over as it was does not count.
 */
export interface ConvertSummary extends ImageSummary {
  /** One per image that was converted. */
  images: ImageSummary[];
  seconds: { manifest: number; layers: number; bootstrap: number; publish: number; total: number };
}

export function summarizeLayer(
  source: Descriptor,
  result: LayerResult & { reused: boolean },
  ms: number,
): LayerSummary {
  return {
    sourceDigest: source.digest,
    sourceBytes: source.size,
    tarBytes: result.tarBytes,
    entries: result.entries,
    ...result.stats,
    blobDigest: result.blob?.digest,
    blobBytes: result.blob?.size ?? 0,
    reused: result.reused,
    seconds: ms / 1000,
  };
}

/** Sums up what layers share with a dictionary, of which `copied` bytes were copied. */
export function summarizeDictionary(
  layers: LayerSummary[],
  blobs: DictionaryBlob[],
  copied: number,
): DictionarySummary {
  return {
    chunks: layers.reduce((sum, layer) => sum + layer.dictionaryChunks, 0),
    bytes: layers.reduce((sum, layer) => sum + layer.dictionaryBytes, 0),
    blobs: blobs.length,
    blobBytes: blobs.reduce((sum, { descriptor }) => sum + descriptor.size, 0),
    copiedBytes: copied,
  };
}

/** The images' sums under the digests of what the source and the target name. */
export function sumUp(images: ImageSummary[], digests: { source: Digest; target: Digest }): ImageSummary {
  const total = (pick: (image: ImageSummary) => number) =>
    images.reduce((sum, image) => sum + pick(image), 0);
  return {
    platform: images.map(({ platform }) => platform).join(','),
    source: { digest: digests.source, bytes: total(({ source }) => source.bytes) },
    target: { digest: digests.target, bytes: total(({ target }) => target.bytes) },
    layers: images.flatMap(({ layers }) => layers),
    reusedLayers: total(({ reusedLayers }) => reusedLayers),
    dictionary: {
      chunks: total(({ dictionary }) => dictionary.chunks),
      bytes: total(({ dictionary }) => dictionary.bytes),
      blobs: total(({ dictionary }) => dictionary.blobs),
      blobBytes: total(({ dictionary }) => dictionary.blobBytes),
      copiedBytes: total(({ dictionary }) => dictionary.copiedBytes),
    },
    startup: {
      files: total(({ startup }) => startup.files),
      bytes: total(({ startup }) => startup.bytes),
    },
    bootstrapBytes: total(({ bootstrapBytes }) => bootstrapBytes),
    warnings: images.flatMap(({ warnings }) => warnings),
  };
}

type Phase = Exclude<keyof ConvertSummary['seconds'], 'total'>;

/** Measures how long each phase took; phases may come again. */
export interface Clock {
  /** Ends the phase that runs since the last call. */
  lap(phase: Phase): void;
  seconds(): ConvertSummary['seconds'];
}

export function startClock(): Clock {
  const startedAt = performance.now();
  let lapAt = startedAt;
  const phases = { manifest: 0, layers: 0, bootstrap: 0, publish: 0 };
  return {
    lap: (phase) => {
      const now = performance.now();
      phases[phase] += (now - lapAt) / 1000;
      lapAt = now;
    },
    seconds: () => ({ ...phases, total: (performance.now() - startedAt) / 1000 }),
  };
}
