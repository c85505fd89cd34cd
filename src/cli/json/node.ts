import * as v from 'valibot';
import { bytes, count, digest, text, time, warnings } from './values.js';

/** `rafter mount`, and one of rafter mounts. */
export const mount = v.object({
  id: text,
  reference: text,
  digest,
  mountpoint: text,
  driver: v.picklist(['erofs', 'fuse']),
  transport: v.optional(v.picklist(['device', 'libfuse'])),
  driverReason: v.optional(text),
  readAheadKiB: v.optional(count),
  mountedAt: time,
  imageSize: bytes,
  metadataBytes: bytes,
  stats: v.object({ fetchedBytes: bytes, requests: count, peerBytes: bytes, registryBytes: bytes }),
  warnings,
});

/** `rafter daemon status`. */
export const daemon = v.object({
  pid: count,
  supervisorPid: v.optional(count),
  version: text,
  startReason: v.picklist(['start', 'restart', 'upgrade', 'failed upgrade']),
  startedAt: time,
  runDir: text,
  dataRoot: text,
  drivers: v.array(v.picklist(['erofs', 'fuse'])),
  mounts: count,
  cache: v.object({
    dir: text,
    quota: v.optional(v.object({ limit: bytes, used: bytes })),
    problem: v.optional(text),
  }),
  residentBytes: bytes,
});

/** `rafter cache ls`. */
export const cacheListing = v.object({
  dir: text,
  localBytes: bytes,
  blobs: v.array(
    v.object({
      name: text,
      size: bytes,
      localBytes: bytes,
      chunks: count,
      localChunks: count,
      complete: v.boolean(),
      damaged: v.boolean(),
      pinned: v.boolean(),
      mounts: count,
      lastUsed: time,
      images: v.array(text),
    }),
  ),
});

/** `rafter cache pin and unpin`. */
export const pins = v.object({ blobs: v.array(text) });

/** `rafter doctor`, of this machine. */
export const machine = v.object({
  ready: v.boolean(),
  findings: v.array(
    v.object({
      check: text,
      status: v.picklist(['ok', 'limited', 'missing']),
      needed: v.array(text),
      found: text,
      meaning: v.optional(text),
      remedy: v.optional(text),
    }),
  ),
});

/** `rafter doctor`, of a registry. */
export const registry = v.object({
  name: text,
  kind: text,
  diagnoses: v.array(
    v.object({
      operation: text,
      result: v.picklist(['works', 'other', 'fails', 'skipped']),
      detail: text,
    }),
  ),
  left: v.array(text),
});

/** `rafter config show`. */
export const configuration = v.object({
  files: v.array(text),
  settings: v.array(
    v.object({
      key: text,
      value: v.optional(v.union([text, v.number(), v.boolean(), v.array(text)])),
      from: v.picklist(['flag', 'environment', 'file', 'default']),
      name: v.optional(text),
    }),
  ),
});
