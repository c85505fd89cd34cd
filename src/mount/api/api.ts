import * as v from 'valibot';
import type { CacheStats } from '../../cache/stats.js';
import type { ErrorCode } from '../../errors.js';
import { MAX_READ_TIMEOUT, MIN_READ_TIMEOUT } from '../read-timeout.js';
import type { Step } from '../steps.js';

/**
 * The daemon's API: HTTP with JSON bodies on a unix socket.
 *
 *     GET    /v1/status                        DaemonStatus
 *     GET    /v1/mounts                        MountInfo[]
 *     POST   /v1/mounts[?dataRoot=<path>][&reuse=true]  MountRequest  MountResult; BUSY unless that is the daemon's data root
 *     DELETE /v1/mounts/<id>[?force=true]      MountInfo of what was unmounted
 *     DELETE /v1/mounts?mountpoint=<path>[&force=true]
 *     GET    /v1/mounts/<id>/trace             Trace of a mount that records one, until now
 *     POST   /v1/upgrade       {command: [...]} {}; answers when the daemon is about to give its mounts to another one
 *            /v1/cache...                      see `cache-api.ts`
 *     GET    /v1/openapi.json                  the OpenAPI document (docs/api.json)
 *     GET    /metrics                          Prometheus' text format, docs/metrics.md
 *     POST   /v1/shutdown                      {}; answers when everything is unmounted
 *
 * Every failure has a body of type ApiError.
 */
const text = (limit: number) => v.pipe(v.string(), v.minLength(1), v.maxLength(limit));
/** Longest path that Linux takes, with its NUL. */
const path = text(4096);
/** User and group ids; the highest one means none. */
const id = v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(0xfffffffe));
/** The kernel counts in pages, in 32 bits. */
const MAX_READ_AHEAD_KIB = 1 << 20;

export const mountRequestSchema = v.strictObject({
  /** Image reference; a layout's path in it must be absolute. */
  reference: text(8192),
  /** Absolute path of an existing directory. */
  mountpoint: path,
  /** `linux/arm64`; default is the daemon's machine. */
  platform: v.optional(text(256)),
  /** What serves the tree; default `auto`: the best that works here. */
  driver: v.optional(v.picklist(['auto', 'erofs', 'fuse'])),
  /** How the driver `fuse` speaks to the kernel; default `device` where this daemon may, else `libfuse`. */
  transport: v.optional(v.picklist(['device', 'libfuse'])),
  /**
   * What the driver `erofs` gives the kernel to read from: files (Linux 6.12), or loop devices of them. Default `auto`: files where
   * the kernel takes them.
   */
  backing: v.optional(v.picklist(['auto', 'file', 'loop'])),
  /**
   * When everything that is missing of the image is fetched in the background: never (default), when its readers had to wait for
   * nothing for some seconds, or from the beginning. Readers come first always.
   */
  complete: v.optional(v.picklist(['off', 'after-ready', 'always'])),
  /** Stored bytes per second that completing may take; default: as many as there are. */
  completeRate: v.optional(v.pipe(v.number(), v.minValue(1))),
  /**
   * False: nothing is fetched ahead that the image's prefetch table, or a start-up profile attached to it, lists. An image with a start-up
   * pack needs none of it.
   */
  prefetch: v.optional(v.boolean()),
  /** Seconds after which a reader whose data cannot be had gets EIO; default 120. */
  readTimeout: v.optional(v.pipe(v.number(), v.minValue(MIN_READ_TIMEOUT), v.maxValue(MAX_READ_TIMEOUT))),
  /** A writable tree over the image; needs root. */
  writable: v.optional(
    v.strictObject({
      /** Absolute path of a directory that keeps what is written, in `upper`; made if missing. Default: gone at unmount. */
      directory: v.optional(path),
    }),
  ),
  /**
   * Most that the kernel reads ahead in a file, in KiB; 0: only the pages that are asked for. Default: the kernel's own, or
   * `TRACE_READ_AHEAD_KIB` where a trace is recorded.
   */
  readAheadKiB: v.optional(v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(MAX_READ_AHEAD_KIB))),
  /** Records what is read: `GET /v1/mounts/<id>/trace`. */
  trace: v.optional(
    v.strictObject({
      /** Where the trace is written when the image is unmounted; absolute. Default: nowhere. */
      file: v.optional(path),
      /** Whose that file is; default: the daemon's user. */
      owner: v.optional(v.strictObject({ uid: id, gid: id })),
    }),
  ),
  /**
   * True: such a request will come again soon. The file system of the image, what the kernel has read of it, and its connections are kept
   * for a while when it is unmounted, seen by nobody, and the next request like this one gets them, if the reference still means
   * that image.
   */
  reuse: v.optional(v.boolean()),
  /** Chosen by the client: the same request, sent again because the daemon died, mounts once. */
  requestId: v.optional(text(64)),
  /** How to reach the registry. File names must be absolute. Never written anywhere. */
  access: v.optional(
    v.strictObject({
      plainHttp: v.optional(v.union([v.boolean(), v.array(text(512))])),
      caFile: v.optional(path),
      certFile: v.optional(path),
      keyFile: v.optional(path),
      credentials: v.optional(v.strictObject({ username: v.string(), password: v.string() })),
      dockerConfig: v.optional(path),
      /** URL of the Dragonfly peer that blobs are read through: dfdaemon's proxy port. */
      p2p: v.optional(text(512)),
    }),
  ),
});

export type MountRequest = v.InferOutput<typeof mountRequestSchema>;

export const upgradeRequestSchema = v.strictObject({
  /** Program, an absolute path, and arguments that run a daemon for the same directories. */
  command: v.pipe(v.array(text(4096)), v.minLength(1), v.maxLength(64)),
});

/** What one mount has read so far. */
export interface MountStats {
  /** Bytes of blobs that were fetched through this mount's registry access since it was mounted. */
  fetchedBytes: number;
  /** Requests that fetched them. */
  requests: number;
  /** Decoded bytes of chunks that were not fetched because another blob of the cache had them. */
  copiedBytes: number;
  /** Bytes of all that is no manifest, bootstrap and configuration included: those that came through the Dragonfly peer. */
  peerBytes: number;
  /** And those that came from the registry or a mirror of it. */
  registryBytes: number;
}

/** What completing a mount's data does: not begun yet, at work, waiting to try again, everything is here. */
export type CompletionState = 'waiting' | 'running' | 'paused' | 'done';

/** One mount. */
export interface MountInfo {
  id: string;
  /** Canonical text of the image reference. */
  reference: string;
  /** Digest of the manifest that is mounted. */
  digest: string;
  /** Absolute, without symbolic links. */
  mountpoint: string;
  driver: 'erofs' | 'fuse';
  /** How the driver `fuse` speaks to the kernel. */
  transport?: 'device' | 'libfuse';
  /** What the kernel reads from with the driver `erofs`. */
  backing?: 'file' | 'loop';
  /** Why it is not a better driver or backing, if nobody asked for this one. */
  driverReason?: string;
  /** What is written to it goes to `upper` in this directory, which stays at unmount if it is `kept`. */
  writable?: { directory: string; kept: boolean };
  /** What the kernel may read ahead, in KiB, if that was set. */
  readAheadKiB?: number;
  /** ISO 8601, UTC. */
  mountedAt: string;
  /** Bytes of all layers as stored in the registry. */
  imageSize: number;
  /** Bytes of manifest, configuration, bootstrap and chunk maps that mounting had to download. */
  metadataBytes: number;
  stats: MountStats;
  /** In the list of mounts: decoded bytes of the image's data, and those that are on this machine. */
  data?: { bytes: number; localBytes: number };
  /** In the list of mounts, if the data is fetched in the background: how far that is. */
  completion?: CompletionState;
  /** Why the trace was not written when the image was unmounted. */
  traceError?: string;
  /** What the user should know, one sentence each. */
  warnings: string[];
}

/** Answer to a mount request. */
export interface MountResult extends MountInfo {
  /** The image's configuration, as it is in the image. */
  config: Record<string, unknown>;
  /** What mounting consisted of, and how long that took, from the request on. */
  steps: Step[];
}

export interface DaemonStatus {
  pid: number;
  /** The process that starts the daemon again when it dies; missing where there is none. */
  supervisorPid?: number;
  version: string;
  /** Why it was started: `restart` after the death of another one, `failed upgrade` if a newer one did not come up. */
  startReason: 'start' | 'restart' | 'upgrade' | 'failed upgrade';
  /** ISO 8601, UTC. */
  startedAt: string;
  runDir: string;
  dataRoot: string;
  /** Those that this daemon may use; a kernel without EROFS on files shows when something is mounted. */
  drivers: ('erofs' | 'fuse')[];
  /** How many images are mounted. */
  mounts: number;
  /** How many are not, but are kept for a while for the next run. */
  kept: number;
  /** Directory of the cache, and what happened in it since the daemon started. */
  cache: {
    dir: string;
    stats: CacheStats;
    /** The limit of the cache and what it has on the disk, in bytes, if it has a limit. */
    quota?: { limit: number; used: number };
    /** Why nothing is kept on disk just now, although everything is served: a full disk, for example. */
    problem?: string;
  };
  /** Resident memory in bytes. */
  residentBytes: number;
}

export interface ApiError {
  code: ErrorCode;
  message: string;
  hint?: string;
  /** The daemon is on its way out and did nothing of what was asked: another one can be started. */
  stopping?: true;
}
