import * as v from 'valibot';
import type { CachedBlob } from '../../cache/quota/inventory.js';
import type { CacheStats } from '../../cache/stats.js';
import type { Trace } from '../../trace/trace.js';
import type { ApiError, DaemonStatus, MountInfo, MountResult } from './api.js';
import type { CacheListing, CachePins, CachePruned, CacheVerification } from './cache-api.js';

/**
 * What the daemon answers, for the API document (docs/api.json) and for tests of it. The compiler compares each schema with the
 * type that the daemon returns; the daemon itself does not load this.
 */
type Describes<T> = v.GenericSchema<unknown, T>;

const count = v.pipe(v.number(), v.integer(), v.minValue(0));
const time = v.pipe(v.string(), v.isoTimestamp());
const digest = v.pipe(v.string(), v.regex(/^sha(256|512):[0-9a-f]+$/));
const driver = v.picklist(['erofs', 'fuse']);

const mountInfoSchema = v.object({
  id: v.pipe(v.string(), v.regex(/^[0-9a-f]+$/)),
  reference: v.string(),
  digest,
  mountpoint: v.string(),
  driver,
  transport: v.exactOptional(v.picklist(['device', 'libfuse'])),
  backing: v.exactOptional(v.picklist(['file', 'loop'])),
  driverReason: v.exactOptional(v.string()),
  writable: v.exactOptional(v.object({ directory: v.string(), kept: v.boolean() })),
  readAheadKiB: v.exactOptional(count),
  mountedAt: time,
  imageSize: count,
  metadataBytes: count,
  stats: v.object({
    fetchedBytes: count,
    requests: count,
    copiedBytes: count,
    peerBytes: count,
    registryBytes: count,
  }),
  data: v.exactOptional(v.object({ bytes: count, localBytes: count })),
  completion: v.exactOptional(v.picklist(['waiting', 'running', 'paused', 'done'])),
  traceError: v.exactOptional(v.string()),
  warnings: v.array(v.string()),
}) satisfies Describes<MountInfo>;

const mountResultSchema = v.object({
  ...mountInfoSchema.entries,
  config: v.record(v.string(), v.unknown()),
  steps: v.array(v.object({ name: v.string(), atMs: v.number(), ms: v.number() })),
}) satisfies Describes<MountResult>;

const traceSchema = v.object({
  reference: v.string(),
  manifest: digest,
  blobs: v.array(v.string()),
  driver,
  transport: v.exactOptional(v.picklist(['device', 'libfuse'])),
  readAheadKiB: v.exactOptional(count),
  command: v.exactOptional(v.array(v.string())),
  startedAt: time,
  lost: v.exactOptional(count),
  touches: v.array(
    v.object({
      blob: count,
      offset: count,
      length: count,
      atMs: v.number(),
      waitedMs: v.number(),
      from: v.picklist(['local', 'fetch', 'startup']),
    }),
  ),
}) satisfies Describes<Trace>;

const cacheStatsSchema = v.object({
  hits: count,
  misses: count,
  requests: count,
  fetchedBytes: count,
  copied: count,
  decodeErrors: count,
  refetches: count,
  storedBytes: count,
  dropped: count,
  evicted: count,
  notKept: count,
  writeErrors: count,
}) satisfies Describes<CacheStats>;

const daemonStatusSchema = v.object({
  pid: count,
  supervisorPid: v.exactOptional(count),
  version: v.string(),
  startReason: v.picklist(['start', 'restart', 'upgrade', 'failed upgrade']),
  startedAt: time,
  runDir: v.string(),
  dataRoot: v.string(),
  drivers: v.array(driver),
  mounts: count,
  kept: count,
  cache: v.object({
    dir: v.string(),
    stats: cacheStatsSchema,
    quota: v.exactOptional(v.object({ limit: count, used: count })),
    problem: v.exactOptional(v.string()),
  }),
  residentBytes: count,
}) satisfies Describes<DaemonStatus>;

const cachedBlobSchema = v.object({
  id: v.string(),
  name: v.string(),
  size: count,
  localBytes: count,
  chunks: count,
  localChunks: count,
  complete: v.boolean(),
  damaged: v.boolean(),
  lastUsed: time,
  pinned: v.boolean(),
  mounts: count,
}) satisfies Describes<CachedBlob>;

const cacheListingSchema = v.object({
  dir: v.string(),
  localBytes: count,
  blobs: v.array(v.object({ ...cachedBlobSchema.entries, images: v.array(v.string()) })),
}) satisfies Describes<CacheListing>;

const cacheVerificationSchema = v.object({
  chunks: count,
  bytes: count,
  damaged: count,
  unfinished: count,
  damagedBlobs: v.array(v.string()),
}) satisfies Describes<CacheVerification>;

const cachePrunedSchema = v.object({
  blobs: v.array(v.string()),
  images: v.array(v.string()),
  files: count,
  bytes: count,
}) satisfies Describes<CachePruned>;

const cachePinsSchema = v.object({ blobs: v.array(v.string()) }) satisfies Describes<CachePins>;

const apiErrorSchema = v.object({
  code: v.picklist([
    'FAILED',
    'USAGE',
    'NOT_FOUND',
    'DENIED',
    'MALFORMED',
    'DIGEST_MISMATCH',
    'TRUNCATED',
    'LIMIT_EXCEEDED',
    'UNSUPPORTED',
    'UNAVAILABLE',
    'BUSY',
    'NO_SPACE',
    'INTERRUPTED',
  ]),
  message: v.string(),
  hint: v.exactOptional(v.string()),
  stopping: v.exactOptional(v.literal(true)),
}) satisfies Describes<ApiError>;

/** Schemas of answers by the names that the document gives them. */
export const RESPONSES = {
  ApiError: apiErrorSchema,
  CacheListing: cacheListingSchema,
  CachePins: cachePinsSchema,
  CachePruned: cachePrunedSchema,
  CacheVerification: cacheVerificationSchema,
  DaemonStatus: daemonStatusSchema,
  Done: v.object({}),
  MountInfo: mountInfoSchema,
  MountList: v.array(mountInfoSchema),
  MountResult: mountResultSchema,
  Trace: traceSchema,
};
