import * as v from 'valibot';
import { RESPONSES } from '../../mount/api/api-schemas.js';
import { attached, check, convert, copy, diff, entry, exported, image, index, optimized } from './images.js';
import { configuration, machine, preheated, registry } from './node.js';
import { savedTrace, shownTrace } from './traces.js';
import { bytes, count, digest, text } from './values.js';

const { CacheListing, CachePins, CachePruned, CacheVerification, DaemonStatus, MountList, MountInfo } =
  RESPONSES;

/**
 * What commands print with `--json`: one object on one line (`ls`: one per entry). Scripts may rely on every member here;
 * later versions add members and take none away. `docs/json.md` is made of these. Answers of the daemon are printed as they are.
 */

/** What each command prints with `--json`, by its words. */
export const OUTPUT_SCHEMAS = {
  'cache ls': CacheListing,
  'cache pin': CachePins,
  'cache prune': CachePruned,
  'cache unpin': CachePins,
  'cache verify': CacheVerification,
  check,
  'config show': configuration,
  convert,
  copy,
  'daemon install-units': v.object({ files: v.array(text) }),
  'daemon status': DaemonStatus,
  'daemon stop': v.object({ stopped: v.boolean() }),
  'daemon upgrade': v.object({ before: DaemonStatus, status: DaemonStatus }),
  delete: v.object({ name: text, digest }),
  diff,
  doctor: v.union([machine, registry]),
  export: exported,
  inspect: v.union([image, index]),
  login: v.object({ registry: text, username: text, stored: text }),
  logout: v.object({ registry: text, wasLoggedIn: v.boolean() }),
  ls: entry,
  mount: MountInfo,
  mounts: v.object({ mounts: MountList }),
  optimize: v.union([optimized, attached]),
  preheat: preheated,
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
