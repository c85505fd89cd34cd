import { BodyBudget } from '../rafs/body-budget.js';
import type { Bootstrap, DiskInode } from '../rafs/bootstrap.js';
import { RafsFlag } from '../rafs/flags.js';
import { MAX_PATH_SIZE, mostNames, tooManyNames } from '../rafs/walk.js';
import type { FaultList } from './faults.js';
import { joinPath } from './find-path.js';

/** Told of every chunk of every file: bytes [k * chunkSize, + size) of `path` are said to be there. */
export type ChunkVisitor = (chunk: {
  path: string;
  inode: DiskInode;
  k: number;
  /** Bytes of the file that the chunk holds. */
  size: number;
  blobIndex: number;
  chunkIndex: number;
  decodedOffset: number;
}) => void;

interface Pending {
  path: Buffer;
  inode: DiskInode;
  parent: number;
}

interface Links {
  path: string;
  nlink: number;
  names: number;
}

/**
 * Walks everything that can be reached from the root and reports all faults that are found: entries that do not lead to a good
 * inode, types and link counts that do not agree, directories out of order, without "." and ".." or with two names, xattrs and
 * symlinks that cannot be read, chunks outside their blob. Returns how many names there are.
 */
export function checkTree(bootstrap: Bootstrap, faults: FaultList, onChunk: ChunkVisitor): number {
  const root = bootstrap.inode(bootstrap.rootNid);
  const directories = new Set([root.nid]);
  const links = new Map<number, Links>();
  const pending: Pending[] = [{ path: Buffer.from('/'), inode: root, parent: root.nid }];
  const most = mostNames(bootstrap);
  const budget = new BodyBudget(bootstrap);
  let names = 1;
  let hasXattrs = checkInode(root, '/');

  function checkInode(inode: DiskInode, path: string): boolean {
    const fits = faults.guard('bootstrap', () => budget.take(inode) ?? true, { path });
    if (!fits) return inode.hasXattrs;
    faults.guard('bootstrap', () => bootstrap.xattrs(inode), { path });
    if (inode.type === 'symlink') faults.guard('bootstrap', () => bootstrap.readlink(inode), { path });
    for (let k = 0; k < inode.chunkCount; k++) {
      const address = faults.guard('bootstrap', () => bootstrap.chunkAt(inode, k), { path });
      if (!address) continue;
      const size = Math.min(bootstrap.chunkSize, inode.size - k * bootstrap.chunkSize);
      onChunk({ path, inode, k, size, ...address });
    }
    return inode.hasXattrs;
  }

  function checkChild(dir: Pending, name: Buffer, nid: number, type: string): void {
    const path = joinPath(dir.path, name);
    const shown = path.toString();
    names++;
    const inode = faults.guard('bootstrap', () => bootstrap.inode(nid), { path: shown });
    if (!inode) return;
    if (inode.type !== type)
      faults.add('bootstrap', `the directory says ${type}, inode ${nid} is a ${inode.type}`, { path: shown });
    if (inode.type === 'dir') {
      if (directories.has(nid)) {
        faults.add('bootstrap', `directory ${nid} has two names`, { path: shown });
        return;
      }
      directories.add(nid);
      if (path.length > MAX_PATH_SIZE)
        faults.add('bootstrap', `a path of ${path.length} bytes`, { path: shown });
      else pending.push({ path, inode, parent: dir.inode.nid });
    } else {
      const known = links.get(nid);
      if (known) {
        known.names++;
        return;
      }
      links.set(nid, { path: shown, nlink: inode.nlink, names: 1 });
    }
    if (checkInode(inode, shown)) hasXattrs = true;
  }

  function checkDirectory(dir: Pending): void {
    const { inode, parent } = dir;
    const path = dir.path.toString();
    let subdirectories = 0;
    const expected = new Map([
      ['.', inode.nid],
      ['..', parent],
    ]);
    const complete = faults.guard(
      'bootstrap',
      () => {
        for (const { name, nid, type } of bootstrap.readdir(inode)) {
          const text = name.toString('latin1');
          const dots = expected.get(text);
          if (dots === undefined) {
            if (names >= most) throw tooManyNames(bootstrap);
            if (type === 'dir') subdirectories++;
            checkChild(dir, name, nid, type);
          } else if (dots !== nid) {
            faults.add('bootstrap', `"${text}" is inode ${nid}, expected ${dots}`, { path });
          }
          expected.delete(text);
        }
        return true;
      },
      { path },
    );
    if (!complete) return;
    for (const name of expected.keys()) faults.add('bootstrap', `the directory has no "${name}"`, { path });
    if (inode.nlink !== subdirectories + 2)
      faults.add('bootstrap', `${inode.nlink} links, expected ${subdirectories + 2}`, { path });
  }

  for (let dir = pending.pop(); dir; dir = pending.pop()) checkDirectory(dir);
  for (const { path, nlink, names } of links.values()) {
    if (nlink !== names) faults.add('bootstrap', `${nlink} links, but ${names} names`, { path });
  }
  if (hasXattrs && (bootstrap.flags & RafsFlag.HAS_XATTR) === 0)
    faults.add('bootstrap', 'there are extended attributes, but the flag HAS_XATTR is not set');
  if (names !== bootstrap.inodeCount)
    faults.add('bootstrap', `the superblock counts ${bootstrap.inodeCount} names, but there are ${names}`);
  for (const nid of bootstrap.prefetchNids) {
    if (!directories.has(nid) && !links.has(nid))
      faults.add('bootstrap', `the prefetch table names inode ${nid}, which has no name`);
  }
  return names;
}
