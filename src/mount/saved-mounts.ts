import * as v from 'valibot';
import { type Descriptor, descriptorSchema } from '../image/descriptor.js';
import { type HandOver, handOverSchema } from './active-mount.js';
import { type MountInfo, type MountRequest, mountRequestSchema } from './api.js';

/** A mount as a daemon describes it to its successor. In memory only: the request may hold credentials. */
export interface SavedMount {
  info: MountInfo;
  request: MountRequest;
  /** The Nydus manifest: the same image again, whatever the reference means by now. */
  manifest: Descriptor;
  handOver: HandOver;
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
      info: v.looseObject({ id: v.string(), mountpoint: v.string() }),
      request: mountRequestSchema,
      manifest: descriptorSchema,
      handOver: handOverSchema,
    }),
  ),
  reserved: v.array(v.string()),
});

/** Reads what a predecessor left; nothing if it left nothing, or something that this version does not understand. */
export function parseSavedState(state: unknown): SavedState {
  const parsed = v.safeParse(savedSchema, state);
  return parsed.success ? (parsed.output as unknown as SavedState) : { mounts: [], reserved: [] };
}
