import * as v from 'valibot';
import { bytes, count, digest, text, time } from './values.js';

const milliseconds = v.pipe(v.number(), v.minValue(0));
const source = v.picklist(['local', 'fetch', 'startup']);
/** A path in an image: as text, or in base64 if it is not UTF-8. */
const path = { path: v.optional(text), path64: v.optional(text) };
const unread = v.array(v.object({ ...path, bytes }));
const ofClass = v.object({ touches: count, bytes, waitedMs: milliseconds });

/** `rafter trace merge` and `save`. */
export const savedTrace = v.object({ file: text, touches: count, bytes });

/** `rafter trace show`. Times are counted from the request to mount on. */
export const shownTrace = v.object({
  reference: text,
  manifest: digest,
  blobs: v.array(text),
  driver: v.picklist(['erofs', 'fuse']),
  transport: v.optional(v.picklist(['device', 'libfuse'])),
  readAheadKiB: v.optional(count),
  command: v.optional(v.array(text)),
  startedAt: time,
  lost: v.optional(count),
  touches: count,
  touchedBytes: bytes,
  pages: count,
  chunks: count,
  chunkBytes: bytes,
  storedBytes: bytes,
  spanMs: milliseconds,
  classes: v.object({ local: ofClass, fetch: ofClass, startup: ofClass }),
  unreadBytes: bytes,
  files: v.array(
    v.object({
      ...path,
      size: bytes,
      firstMs: milliseconds,
      bytes,
      touches: count,
      waitedMs: milliseconds,
    }),
  ),
  longest: v.array(
    v.object({
      ...path,
      blob: count,
      offset: bytes,
      length: bytes,
      atMs: milliseconds,
      waitedMs: milliseconds,
      from: source,
    }),
  ),
  unread,
  pack: v.optional(v.object({ bytes, unreadBytes: bytes, unread })),
});
