import * as v from 'valibot';
import { RafterError } from '../../errors.js';
import { type Descriptor, descriptorSchema } from '../../image/descriptor.js';
import { type MountInfo, type MountRequest, mountRequestSchema } from '../api/api.js';
import { type HandOver, handOverSchema } from '../drivers/active-mount.js';

/** A mount as a daemon describes it to its successor. In memory only: the request may hold credentials. */
export interface SavedMount {
  info: MountInfo;
  request: MountRequest;
  /** The Nydus manifest: the same image again, whatever the reference means by now. */
  manifest: Descriptor;
  handOver: HandOver;
  /** `major:minor` of the mount: tells it from another that came to the same place later. */
  device: string;
  /** It was unmounted, and files of it were still open. */
  leaving: boolean;
}

/** What a daemon leaves for its successor. */
export interface SavedState {
  mounts: SavedMount[];
  /** Mount points that a request was working on. */
  reserved: string[];
}

const savedSchema = v.object({
  mounts: v.array(
    v.object({
      // Written by the same program, perhaps by another version of it: what counts is looked at.
      info: v.looseObject({
        id: v.string(),
        mountpoint: v.string(),
        writable: v.optional(v.object({ directory: v.string(), kept: v.boolean() })),
      }),
      request: mountRequestSchema,
      manifest: descriptorSchema,
      handOver: handOverSchema,
      device: v.string(),
      leaving: v.boolean(),
    }),
  ),
  reserved: v.array(v.string()),
});

/**
 * Reads what a predecessor left; nothing if it left nothing. Throws UNSUPPORTED for what this version does not understand:
 * then the version that left it has to go on.
 */
export function parseSavedState(state: unknown): SavedState {
  if (state === undefined) return { mounts: [], reserved: [] };
  const parsed = v.safeParse(savedSchema, state);
  if (parsed.success) return parsed.output as unknown as SavedState;
  const field = v.getDotPath(parsed.issues[0]) ?? 'all of it';
  throw new RafterError(
    'UNSUPPORTED',
    `the last daemon left what this version does not understand: ${field}`,
  );
}
