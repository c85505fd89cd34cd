import * as v from 'valibot';
import { check, convert, copy, diff, entry, exported, image, index, optimized } from './images.js';
import { cacheListing, configuration, daemon, machine, mount, pins, registry } from './node.js';
import { savedTrace, shownTrace } from './traces.js';
import { bytes, count, digest, text } from './values.js';

/**
 * What commands print with `--json`: one object on one line (`ls`: one per entry). Scripts may rely on every member here;
 * later versions add members and take none away. `docs/json.md` is made of these.
 */

/** What each command prints with `--json`, by its words. */
export const OUTPUT_SCHEMAS = {
  'cache ls': cacheListing,
  'cache pin': pins,
  'cache prune': v.object({ blobs: v.array(text), images: v.array(text), files: count, bytes }),
  'cache unpin': pins,
  'cache verify': v.object({
    chunks: count,
    bytes,
    damaged: count,
    unfinished: count,
    damagedBlobs: v.array(text),
  }),
  check,
  'config show': configuration,
  convert,
  copy,
  'daemon install-units': v.object({ files: v.array(text) }),
  'daemon status': daemon,
  'daemon stop': v.object({ stopped: v.boolean() }),
  'daemon upgrade': v.object({ before: daemon, status: daemon }),
  delete: v.object({ name: text, digest }),
  diff,
  doctor: v.union([machine, registry]),
  export: exported,
  inspect: v.union([image, index]),
  login: v.object({ registry: text, username: text, stored: text }),
  logout: v.object({ registry: text, wasLoggedIn: v.boolean() }),
  ls: entry,
  mount,
  mounts: v.object({ mounts: v.array(mount) }),
  optimize: optimized,
  'trace merge': savedTrace,
  'trace save': savedTrace,
  'trace show': shownTrace,
  umount: v.object({ unmounted: text }),
  unpack: v.object({ directory: text, names: count, bytes }),
} as const;

/** What goes to stderr with `--json` when a command fails. */
export const ERROR_SCHEMA = v.object({
  error: v.object({ code: text, message: text, hint: v.optional(text) }),
});
