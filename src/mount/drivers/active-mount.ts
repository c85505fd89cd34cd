import * as v from 'valibot';
import type { TraceMemory } from '../trace/trace-memory.js';

const negotiatedSchema = v.object({ minor: v.number(), resend: v.boolean() });

/** What the next daemon must know to go on serving a mount, besides the image itself; JSON. */
export const handOverSchema = v.variant('driver', [
  v.object({
    driver: v.literal('fuse'),
    /** Name under which the supervisor keeps the mount's descriptor. */
    descriptor: v.string(),
    negotiated: negotiatedSchema,
  }),
  v.object({
    driver: v.literal('erofs'),
    /** `major:minor` of the mount. */
    device: v.string(),
    /** What was agreed with the kernel for the FUSE mount for blobs, if the kernel has files of it open. */
    negotiated: v.optional(negotiatedSchema),
    /** Files of the FUSE mount for blobs that the kernel has open, by position in the blob table. */
    files: v.array(v.object({ index: v.number(), node: v.number(), name: v.string() })),
  }),
]);

export type HandOver = v.InferOutput<typeof handOverSchema>;

/** How the reads of a mount are answered. */
export interface Serving {
  /** See `MountRequest`. */
  readTimeout?: number | undefined;
  /** Where they are noted, if the mount is traced. */
  trace?: TraceMemory | undefined;
}

/** A mounted image, whichever driver serves it. */
export interface ActiveMount {
  /** Settles when the kernel has let go of the mount, whoever unmounted it, and asks for nothing of it any more. */
  readonly ended: Promise<void>;
  /** Nothing if the mount ends with this process. */
  readonly handOver?: HandOver;
  /**
   * Unmounts. With `detach` also while files are open: those stay readable until they are closed.
   * Throws BUSY, DENIED, or FAILED if it is not mounted any more.
   */
  unmount(options?: { detach?: boolean }): Promise<void>;
  /**
   * Unmounts, but keeps the file system for another place; `ended` does not settle then. Undefined, and nothing done, if it is in use or
   * cannot be kept. Missing if the driver keeps nothing.
   */
  keep?(): Promise<KeptMount | undefined>;
}

/** A file system that is mounted nowhere. It ends with this process, and nobody else can get at it. */
export interface KeptMount {
  /** Mounts it at `mountpoint`, an existing directory; once. Throws what `mount` of `os/mount.ts` throws. */
  mountAt(mountpoint: string): ActiveMount;
  /** Ends it, if it was not mounted again. Resolves when the kernel asks for nothing of it any more. */
  release(): Promise<void>;
}
