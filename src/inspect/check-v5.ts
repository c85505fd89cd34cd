import { chunkDigest } from '../codec/digest.js';
import { CHUNK_TABLE_ENTRY_SIZE } from '../rafs/chunk-table.js';
import type { BootstrapV5 } from '../rafs/v5/bootstrap-v5.js';
import type { InodeV5 } from '../rafs/v5/inode.js';
import { INODE_SIZE } from '../rafs/v5/inode-parts.js';
import type { ChunkTable } from './check-chunk-table.js';
import type { FaultList } from './faults.js';

/** Directories that a path in a message has at most. */
const MAX_DEPTH = 64;

/**
 * The chunks of a RAFS v5 image as a table of one row per chunk, numbered like those of its chunk maps. Throws what the
 * bootstrap's `chunkList` throws.
 */
export function chunkTableOfV5(bootstrap: BootstrapV5): ChunkTable {
  const lists = bootstrap.blobs.map((_, blobIndex) => bootstrap.chunkList(blobIndex));
  const locate = (blobIndex: number, chunkIndex: number) => {
    const list = lists[blobIndex];
    return list && chunkIndex < list.chunkCount ? list.entryOffset(chunkIndex) : undefined;
  };
  const find = (blobIndex: number, chunkIndex: number) =>
    locate(blobIndex, chunkIndex) === undefined
      ? undefined
      : { ...lists[blobIndex]!.entry(chunkIndex), index: chunkIndex };
  return {
    rows: lists.reduce((sum, { chunkCount }) => sum + chunkCount, 0),
    locate,
    find,
    *each() {
      for (const [blobIndex, { chunkCount }] of lists.entries()) {
        for (let i = 0; i < chunkCount; i++) yield { ...find(blobIndex, i)!, offset: locate(blobIndex, i)! };
      }
    },
  };
}

/**
 * Reports what only RAFS v5 has: inode digests that are not those of contents and children, names of one inode that disagree,
 * a wrong count of inodes, and chunk numbers that no blob can have or two chunks share. Good images have none of it.
 */
export function checkInodesV5(bootstrap: BootstrapV5, faults: FaultList): void {
  let distinct = 0;
  let claimed = 0;
  for (let index = 1; index <= bootstrap.inodeCount; index++) {
    const inode = faults.guard('bootstrap', () => bootstrap.record(index));
    if (!inode) continue;
    claimed += inode.childCount * INODE_SIZE + inode.chunkCount * CHUNK_TABLE_ENTRY_SIZE;
    if (claimed > bootstrap.size) {
      faults.add('bootstrap', `inode ${index}: what it holds lies over what others hold`, {
        offset: inode.offset,
      });
      return;
    }
    const place = () => ({ path: pathOf(bootstrap, inode), offset: inode.offset });
    const expected = faults.guard('bootstrap', () => digestOf(bootstrap, inode));
    if (expected && !expected.equals(bootstrap.inodeDigest(inode)))
      faults.add('bootstrap', `inode ${index}: the digest is not that of its ${contentOf(inode)}`, place());
    if (inode.nid === index) distinct++;
    else {
      const first = faults.guard('bootstrap', () => bootstrap.inode(inode.nid), place());
      if (first && differs(bootstrap, inode, first))
        faults.add(
          'bootstrap',
          `inode ${index}: not the same as inode ${inode.nid}, whose name it is`,
          place(),
        );
    }
  }
  if (distinct !== bootstrap.distinctInodeCount) {
    faults.add(
      'bootstrap',
      `the superblock counts ${bootstrap.distinctInodeCount} inodes, but there are ${distinct}`,
    );
  }
  checkChunkNumbers(bootstrap, faults);
}

/** Without the extended blob table nobody knows how many chunks a blob has, and their numbers mean nothing. */
function checkChunkNumbers(bootstrap: BootstrapV5, faults: FaultList): void {
  if (!bootstrap.numbersChunks) return;
  for (const [blobIndex, { id, chunkCount }] of bootstrap.blobs.entries()) {
    const list = bootstrap.chunkList(blobIndex);
    let before = -1;
    for (let i = 0; i < list.chunkCount; i++) {
      const { index } = list.entry(i);
      const place = { blob: id, chunk: i, offset: list.entryOffset(i) };
      if (index >= chunkCount)
        faults.add('bootstrap', `chunk number ${index} in a blob of ${chunkCount}`, place);
      else if (index <= before)
        faults.add('bootstrap', `chunk number ${index} behind chunk number ${before}`, place);
      before = index;
    }
  }
}

/** The digest that an inode must have (RAFS v5 format): over chunk digests, target, or digests of children; of nothing else. */
function digestOf(bootstrap: BootstrapV5, inode: InodeV5): Buffer {
  const parts: Buffer[] = [];
  if (inode.type === 'symlink') parts.push(bootstrap.readlink(inode));
  for (let k = 0; k < inode.chunkCount; k++) parts.push(bootstrap.fileChunkDigest(inode, k));
  for (let i = 0; i < inode.childCount; i++)
    parts.push(bootstrap.inodeDigest(bootstrap.record(inode.childIndex + i)));
  return chunkDigest(bootstrap.digester, Buffer.concat(parts));
}

function contentOf({ type }: InodeV5): string {
  return type === 'dir' ? 'children' : type === 'symlink' ? 'target' : 'content';
}

/** True if two records of one inode differ in more than name and directory. */
function differs(bootstrap: BootstrapV5, a: InodeV5, b: InodeV5): boolean {
  const facts = (inode: InodeV5) => [
    ...[inode.mode, inode.size, inode.uid, inode.gid, inode.mtimeSec, inode.mtimeNsec, inode.nlink],
    ...[inode.rdev?.major, inode.rdev?.minor, bootstrap.inodeDigest(inode).toString('hex')],
    ...(inode.type === 'symlink' ? [bootstrap.readlink(inode).toString('latin1')] : []),
    ...bootstrap
      .xattrs(inode)
      .map(({ name, value }) => `${name.toString('latin1')}=${value.toString('hex')}`),
  ];
  return `${facts(a)}` !== `${facts(b)}`;
}

/** The path of a record by its directories' own accounts. */
function pathOf(bootstrap: BootstrapV5, inode: InodeV5): string {
  const { parent } = inode;
  if (parent === 0) return '/';
  const names = [bootstrap.nameOf(inode).toString()];
  try {
    for (let at = parent; at !== bootstrap.rootNid && names.length < MAX_DEPTH; ) {
      const directory = bootstrap.record(at);
      names.unshift(bootstrap.nameOf(directory).toString());
      at = directory.parent;
    }
  } catch {
    names.unshift('...');
  }
  return `/${names.join('/')}`;
}
