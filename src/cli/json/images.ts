import * as v from 'valibot';
import { bytes, count, digest, seconds, text, time, warnings } from './values.js';

const layer = v.object({
  sourceDigest: digest,
  sourceBytes: bytes,
  tarBytes: bytes,
  entries: count,
  blobDigest: v.optional(digest),
  blobBytes: bytes,
  reused: v.boolean(),
  seconds,
});

const convertedImage = v.object({
  platform: text,
  source: v.object({ digest, bytes }),
  target: v.object({ digest, bytes }),
  layers: v.array(layer),
  reusedLayers: count,
  dictionary: v.object({ chunks: count, bytes, blobs: count, blobBytes: bytes, copiedBytes: bytes }),
  bootstrapBytes: bytes,
  startup: v.object({ files: count, bytes }),
  warnings,
});

/** `rafter convert`. */
export const convert = v.object({
  ...convertedImage.entries,
  images: v.array(convertedImage),
  seconds: v.object({
    manifest: seconds,
    layers: seconds,
    bootstrap: seconds,
    publish: seconds,
    total: seconds,
  }),
});

/** `rafter copy`. */
export const copy = v.object({
  digest,
  mediaType: text,
  manifests: count,
  referrers: count,
  copiedBlobs: count,
  copiedBytes: bytes,
  skippedBlobs: count,
  skippedBytes: bytes,
});

/** `rafter export`. */
export const exported = v.object({
  platform: text,
  source: v.object({ digest }),
  target: v.object({ digest, bytes }),
  layer: v.object({ digest, bytes, diffId: digest, entries: count, tarBytes: bytes }),
  warnings,
});

/** `rafter optimize`. */
export const optimized = v.object({
  digest,
  manifest: digest,
  pack: v.object({ digest, size: bytes, decodedSize: bytes, pieces: count }),
  touchedBytes: bytes,
  chunkBytes: bytes,
  copiedBytes: bytes,
  warnings,
});

/** `rafter optimize --attach`. */
export const attached = v.object({
  digest,
  subject: digest,
  profile: v.object({ digest, size: bytes, chunks: count, ranges: count }),
  touchedBytes: bytes,
  chunkBytes: bytes,
  warnings,
});

const fault = v.object({
  part: v.picklist(['manifest', 'config', 'bootstrap', 'blob', 'content']),
  message: text,
  path: v.optional(text),
  blob: v.optional(text),
  chunk: v.optional(count),
  offset: v.optional(count),
});

/** `rafter check`. */
export const check = v.object({
  reference: text,
  digest: v.optional(digest),
  names: count,
  chunks: count,
  bytes,
  faults: v.array(fault),
  faultCount: count,
  warnings,
});

const annotations = v.record(text, text);

/** `rafter inspect`, of an index. */
export const index = v.object({
  kind: v.literal('index'),
  reference: text,
  digest,
  mediaType: text,
  manifests: v.array(
    v.object({
      digest,
      mediaType: text,
      size: bytes,
      platform: v.optional(text),
      artifactType: v.optional(text),
    }),
  ),
  annotations,
});

/** `rafter inspect`, of an image. */
export const image = v.object({
  kind: v.picklist(['nydus', 'oci', 'artifact']),
  reference: text,
  digest,
  mediaType: text,
  platform: v.optional(text),
  config: v.optional(
    v.object({
      user: text,
      workingDir: text,
      entrypoint: v.array(text),
      cmd: v.array(text),
      env: v.array(text),
      labels: annotations,
    }),
  ),
  layers: v.array(v.object({ digest, mediaType: text, size: bytes })),
  size: bytes,
  annotations,
  nydus: v.optional(
    v.object({
      problem: v.optional(text),
      fsVersion: v.optional(count),
      chunkSize: v.optional(bytes),
      compressor: v.optional(text),
      digester: v.optional(text),
      bootstrapSize: v.optional(bytes),
      names: v.optional(v.record(text, count)),
      contentSize: v.optional(bytes),
      chunks: v.optional(count),
      blobs: v.optional(
        v.array(
          v.object({
            id: text,
            storedSize: bytes,
            decodedSize: bytes,
            chunks: count,
            compressor: text,
            digester: text,
            features: v.array(text),
          }),
        ),
      ),
      prefetch: v.optional(v.array(text)),
      startupPack: v.optional(v.object({ digest, size: bytes })),
      source: v.optional(v.object({ reference: v.optional(text), digest: v.optional(text) })),
    }),
  ),
});

/** Names that are not UTF-8 are in base64, under a key that ends in 64. */
export const entry = v.object({
  path: v.optional(text),
  path64: v.optional(text),
  type: v.picklist(['file', 'dir', 'symlink', 'char', 'block', 'fifo', 'socket']),
  mode: v.pipe(text, v.regex(/^[0-7]{4}$/)),
  uid: count,
  gid: count,
  nlink: count,
  size: v.optional(bytes),
  mtime: time,
  rdev: v.optional(v.tuple([count, count])),
  target: v.optional(text),
  target64: v.optional(text),
});

/** `rafter diff`. */
export const diff = v.object({
  changes: v.array(
    v.object({
      path: v.optional(text),
      path64: v.optional(text),
      kind: v.picklist(['added', 'removed', 'changed']),
      differences: v.array(
        v.object({
          field: text,
          before: v.optional(text),
          after: v.optional(text),
          offset: v.optional(count),
        }),
      ),
    }),
  ),
});
