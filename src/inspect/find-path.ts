import { RafterError } from '../errors.js';
import type { Bootstrap, DiskInode } from '../rafs/bootstrap.js';
import type { WalkEntry } from '../rafs/walk.js';

/** Symlinks that one path may lead through (Linux, path_resolution(7)). */
const MAX_SYMLINKS = 40;
const SLASH = 0x2f;

/**
 * Finds `path` in the image as a process whose root it is would: symlinks are followed inside the image, `..` stays in the
 * root. With `follow` a symlink at the end is followed too. The result's path is absolute and free of symlinks.
 * Throws NOT_FOUND, or FAILED for a path through something that is no directory or through too many symlinks.
 */
export function findPath(
  bootstrap: Bootstrap,
  path: Buffer,
  { follow, name }: { follow: boolean; name: string },
): WalkEntry {
  const wrong = (code: 'NOT_FOUND' | 'FAILED', problem: string) =>
    new RafterError(code, `${name}: ${path.toString()}: ${problem}`, {
      hint: `rafter ls -R ${name} lists what is there`,
    });
  const root: WalkEntry = { path: Buffer.from('/'), inode: bootstrap.inode(bootstrap.rootNid) };
  let passed = [root];
  const ahead = splitPath(path).reverse();
  // A slash at the end asks for a directory, so that a symlink there is followed.
  const followLast = follow || path.at(-1) === SLASH;
  for (let hops = 0; ; ) {
    const part = ahead.pop();
    if (part === undefined) return passed.at(-1)!;
    const here = passed.at(-1)!;
    requireDirectory(here.inode, wrong);
    if (part === '.') continue;
    if (part === '..') {
      if (passed.length > 1) passed.pop();
      continue;
    }
    const bytes = Buffer.from(part, 'latin1');
    const nid = bootstrap.lookup(here.inode, bytes);
    if (nid === undefined) throw wrong('NOT_FOUND', 'no such file or directory');
    const inode = bootstrap.inode(nid);
    if (inode.type === 'symlink' && (followLast || ahead.length > 0)) {
      if (++hops > MAX_SYMLINKS)
        throw wrong('FAILED', `more than ${MAX_SYMLINKS} symbolic links, probably a loop`);
      const target = bootstrap.readlink(inode);
      if (target[0] === SLASH) passed = [root];
      ahead.push(...splitPath(target).reverse());
    } else passed.push({ path: joinPath(here.path, bytes), inode });
  }
}

/** `name` below the absolute path `directory`. */
export function joinPath(directory: Buffer, name: Buffer): Buffer {
  return Buffer.concat(directory.length === 1 ? [directory, name] : [directory, Buffer.of(SLASH), name]);
}

function splitPath(path: Buffer): string[] {
  return path
    .toString('latin1')
    .split('/')
    .filter((part) => part !== '');
}

function requireDirectory(inode: DiskInode, wrong: (code: 'FAILED', problem: string) => RafterError): void {
  if (inode.type !== 'dir') throw wrong('FAILED', 'a part of it is not a directory');
}
