import { RafterError } from '../errors.js';
import type { Bootstrap, DiskInode } from './bootstrap.js';

/** Longest path that a walk follows, bytes; keeps a hostile chain of directories from costing quadratic time. */
export const MAX_PATH_SIZE = 65536;

/** One name met by `walk`. */
export interface WalkEntry {
  /** Absolute path, "/" for the root. */
  path: Buffer;
  inode: DiskInode;
}

const ROOT = Buffer.from('/');
const DOT = Buffer.of(0x2e);
const DOT_DOT = Buffer.of(0x2e, 0x2e);

/**
 * Every name of a bootstrap, or those from the directory `from` on: a directory before its children, children in byte
 * order, a subdirectory's content behind all of its siblings' names. Throws MALFORMED if a directory can be reached by two
 * ways (which would make a loop possible) or an entry's type is not its inode's, LIMIT_EXCEEDED for a path above
 * MAX_PATH_SIZE.
 */
export function* walk(bootstrap: Bootstrap, from?: WalkEntry): Generator<WalkEntry> {
  const root: WalkEntry = from ?? { path: ROOT, inode: bootstrap.inode(bootstrap.rootNid) };
  const seen = new Set([root.inode.nid]);
  const pending = [root];
  yield root;
  for (let dir = pending.pop(); dir; dir = pending.pop()) {
    const directories: WalkEntry[] = [];
    for (const { name, nid, type } of bootstrap.readdir(dir.inode)) {
      if (name.equals(DOT) || name.equals(DOT_DOT)) continue;
      const inode = bootstrap.inode(nid);
      const path = join(dir.path, name);
      if (path.length > MAX_PATH_SIZE) {
        throw new RafterError(
          'LIMIT_EXCEEDED',
          `${bootstrap.name}: path of ${path.length} bytes; at most ${MAX_PATH_SIZE}`,
        );
      }
      if (inode.type !== type) {
        throw new RafterError(
          'MALFORMED',
          `${bootstrap.name}: ${path}: entry says ${type}, inode ${nid} is a ${inode.type}`,
        );
      }
      if (type === 'dir') {
        if (seen.has(nid))
          throw new RafterError('MALFORMED', `${bootstrap.name}: ${path}: directory ${nid} has two names`);
        seen.add(nid);
        directories.push({ path, inode });
      }
      yield { path, inode };
    }
    pending.push(...directories.reverse());
  }
}

function join(directory: Buffer, name: Buffer): Buffer {
  return directory.length === 1 ? Buffer.concat([ROOT, name]) : Buffer.concat([directory, ROOT, name]);
}
