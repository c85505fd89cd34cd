import { RafterError } from '../errors.js';
import type { Bootstrap, DiskInode } from './bootstrap.js';
import { DIRENT_SIZE } from './dirent.js';

/** Longest path that a walk follows, bytes; keeps a hostile chain of directories from costing quadratic time. */
export const MAX_PATH_SIZE = 65536;

/**
 * Most names that a bootstrap can hold: each takes some bytes of its own. More are met only where directories lie over each other, which
 * would make a small file cost much.
 */
export function mostNames({ size }: Pick<Bootstrap, 'size'>): number {
  return Math.floor(size / DIRENT_SIZE);
}

/** The error for more names than that. */
export function tooManyNames({ name, size }: Pick<Bootstrap, 'name' | 'size'>): RafterError {
  return new RafterError(
    'MALFORMED',
    `${name}: more names than ${size} bytes can hold: directories lie over each other`,
  );
}

/** One name met by `walk`. */
export interface WalkEntry {
  /** Absolute path, "/" for the root. */
  readonly path: Buffer;
  readonly inode: DiskInode;
}

const ROOT = Buffer.from('/');
const DOT = 0x2e;

/** A name below `directory`. Most walks ask for few paths: they are put together when somebody does. */
class Child implements WalkEntry {
  readonly #directory: Buffer;
  readonly #name: Buffer;
  readonly inode: DiskInode;

  constructor(directory: Buffer, name: Buffer, inode: DiskInode) {
    this.#directory = directory;
    this.#name = name;
    this.inode = inode;
  }

  get path(): Buffer {
    return this.#directory.length === 1
      ? Buffer.concat([ROOT, this.#name])
      : Buffer.concat([this.#directory, ROOT, this.#name]);
  }

  /** Bytes of `path`. */
  get pathSize(): number {
    return (this.#directory.length === 1 ? 0 : this.#directory.length) + 1 + this.#name.length;
  }
}

/**
 * Every name of a bootstrap, or those from the directory `from` on: a directory before its children, children in byte
 * order, a subdirectory's content behind all of its siblings' names. Throws MALFORMED if a directory can be reached by two
 * ways (which would make a loop possible), an entry's type is not its inode's, or there are more names than `mostNames`;
 * LIMIT_EXCEEDED for a path above MAX_PATH_SIZE.
 */
export function* walk(bootstrap: Bootstrap, from?: WalkEntry): Generator<WalkEntry> {
  const root: WalkEntry = from ?? { path: ROOT, inode: bootstrap.inode(bootstrap.rootNid) };
  const seen = new Set([root.inode.nid]);
  const pending = [root];
  let left = mostNames(bootstrap);
  yield root;
  for (let dir = pending.pop(); dir; dir = pending.pop()) {
    const { path } = dir;
    const directories: WalkEntry[] = [];
    for (const { name, nid, type } of bootstrap.readdir(dir.inode)) {
      if (isDots(name)) continue;
      if (left-- === 0) throw tooManyNames(bootstrap);
      const entry = new Child(path, name, bootstrap.inode(nid));
      if (entry.pathSize > MAX_PATH_SIZE) {
        throw new RafterError(
          'LIMIT_EXCEEDED',
          `${bootstrap.name}: path of ${entry.pathSize} bytes; at most ${MAX_PATH_SIZE}`,
        );
      }
      if (entry.inode.type !== type) {
        throw new RafterError(
          'MALFORMED',
          `${bootstrap.name}: ${entry.path}: entry says ${type}, inode ${nid} is a ${entry.inode.type}`,
        );
      }
      if (type === 'dir') {
        if (seen.has(nid)) {
          const message = `${bootstrap.name}: ${entry.path}: directory ${nid} has two names`;
          throw new RafterError('MALFORMED', message);
        }
        seen.add(nid);
        directories.push(entry);
      }
      yield entry;
    }
    pending.push(...directories.reverse());
  }
}

/** True for "." and "..". */
function isDots(name: Buffer): boolean {
  return name[0] === DOT && (name.length === 1 || (name.length === 2 && name[1] === DOT));
}
