import { RafterError } from '../errors.js';
import { MAX_NAME_SIZE } from '../rafs/limits.js';

const WHITEOUT_PREFIX = '.wh.';
const META_PREFIX = '.wh..wh.';
const OPAQUE = '.wh..wh..opq';

/**
 * The components of a path in a tar, each as latin1 text (one character per byte): what is left after `.` and empty
 * components are dropped and `..` has taken away the component in front of it, never going above the root, as umoci and
 * containerd clean names. Empty for the root. LIMIT_EXCEEDED, naming `what`, for a component longer than a directory entry.
 */
export function splitPath(path: Buffer, what: string): string[] {
  const names: string[] = [];
  for (const name of path.toString('latin1').split('/')) {
    if (name === '' || name === '.') continue;
    if (name === '..') names.pop();
    else names.push(name);
  }
  // A whiteout's name may be longer than the name that it removes.
  const limit = (name: string) =>
    MAX_NAME_SIZE + (name.startsWith(WHITEOUT_PREFIX) ? WHITEOUT_PREFIX.length : 0);
  if (names.some((name) => name.length > limit(name))) {
    throw new RafterError('LIMIT_EXCEEDED', `${what}: a name has more than ${MAX_NAME_SIZE} bytes`);
  }
  return names;
}

/** What a path stands for in a layer (OCI image spec, "Layer changeset"). */
export type LayerName =
  | { kind: 'entry'; parent: string[]; name: string }
  | { kind: 'root' }
  /** What lower layers have as `name`, or all they have in `parent`, is to go. */
  | { kind: 'whiteout'; parent: string[]; name: string }
  | { kind: 'opaque'; parent: string[] }
  /** Bookkeeping of AUFS that found its way into the layer. */
  | { kind: 'ignored' };

/** Tells whiteouts from ordinary entries. MALFORMED for a whiteout of nothing, `.` or `..`. */
export function classifyPath(path: Buffer, what: string): LayerName {
  const parent = splitPath(path, what);
  const name = parent.pop();
  if (name === undefined) return { kind: 'root' };
  if (name === OPAQUE) return { kind: 'opaque', parent };
  if ((parent[0] ?? name).startsWith(META_PREFIX) || name.startsWith(META_PREFIX)) return { kind: 'ignored' };
  if (!name.startsWith(WHITEOUT_PREFIX)) return { kind: 'entry', parent, name };
  const removed = name.slice(WHITEOUT_PREFIX.length);
  if (removed === '' || removed === '.' || removed === '..') {
    throw new RafterError('MALFORMED', `${what}: a whiteout of ${JSON.stringify(removed)}`);
  }
  return { kind: 'whiteout', parent, name: removed };
}
