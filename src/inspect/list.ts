import { isRafterError } from '../errors.js';
import type { Bootstrap } from '../rafs/bootstrap.js';
import { type WalkEntry, walk } from '../rafs/walk.js';
import { findPath, joinPath } from './find-path.js';

/** One line of a listing. */
export interface ListEntry extends WalkEntry {
  /** What `path` is called in the listing: a name, or with `recursive` the way to it from the listed directory. */
  name: Buffer;
}

export interface ListOptions {
  /** Everything below, not only the names in the directory. */
  recursive: boolean;
  /** The image, for messages. */
  name: string;
}

/**
 * The names in the directory `path` of an image in byte order, or `path` itself if it is something else. The content of a
 * subdirectory follows when all names of its parent have been given. Throws as `findPath` and `walk`.
 */
export function* listImage(bootstrap: Bootstrap, path: Buffer, options: ListOptions): Generator<ListEntry> {
  const start = findPath(bootstrap, path, { follow: false, name: options.name });
  const found =
    start.inode.type === 'symlink'
      ? followIfDirectory(bootstrap, { path, start, name: options.name })
      : start;
  if (found.inode.type !== 'dir') {
    yield { ...found, name: path };
    return;
  }
  const skip = found.path.length === 1 ? 1 : found.path.length + 1;
  if (options.recursive) {
    for (const { path: whole, inode } of walk(bootstrap, found)) {
      if (inode.nid !== found.inode.nid) yield { path: whole, inode, name: whole.subarray(skip) };
    }
    return;
  }
  for (const { name, nid } of bootstrap.readdir(found.inode)) {
    if (isDots(name)) continue;
    yield { path: joinPath(found.path, name), name, inode: bootstrap.inode(nid) };
  }
}

/** A symlink to a directory is listed as that directory, as ls(1) does; any other stands for itself. */
function followIfDirectory(
  bootstrap: Bootstrap,
  { path, start, name }: { path: Buffer; start: WalkEntry; name: string },
): WalkEntry {
  try {
    const target = findPath(bootstrap, path, { follow: true, name });
    return target.inode.type === 'dir' ? target : start;
  } catch (error) {
    if (!isRafterError(error, 'NOT_FOUND', 'FAILED')) throw error;
    return start;
  }
}

function isDots(name: Buffer): boolean {
  const text = name.toString('latin1');
  return text === '.' || text === '..';
}
