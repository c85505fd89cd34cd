import { createHash } from 'node:crypto';
import { constants } from 'node:fs';
import type { FileSystem } from '../../src/fuse/file-system.js';
import type { TreeRow } from '../rafs/golden.js';

const types: Record<number, TreeRow['type']> = {
  [constants.S_IFREG]: 'file',
  [constants.S_IFDIR]: 'dir',
  [constants.S_IFLNK]: 'symlink',
  [constants.S_IFCHR]: 'char',
  [constants.S_IFBLK]: 'block',
  [constants.S_IFIFO]: 'fifo',
  [constants.S_IFSOCK]: 'socket',
};

/** Everything of `fs` in the form of the golden trees, sorted by path bytes; reads in pieces of `piece` bytes. */
export async function walk(fs: FileSystem, piece = 128 * 1024): Promise<TreeRow[]> {
  const rows: { path: Buffer; row: TreeRow }[] = [];

  async function visit(path: Buffer, node: number): Promise<void> {
    const stat = fs.getattr(node);
    const type = types[stat.mode & constants.S_IFMT]!;
    const row: TreeRow = {
      ...text('path', path.length === 0 ? Buffer.from('/') : path),
      type,
      mode: stat.mode.toString(8).padStart(6, '0'),
      uid: stat.uid,
      gid: stat.gid,
      nlink: stat.nlink,
      mtime: stat.mtimeSec,
      mtimeNsec: stat.mtimeNsec,
    };
    rows.push({ path, row });
    if (type === 'file' || type === 'symlink') row.size = stat.size;
    if (type === 'dir') row.dirSize = stat.size;
    if (stat.rdev) row.rdev = [stat.rdev.major, stat.rdev.minor];
    if (type === 'symlink') Object.assign(row, text('target', fs.readlink(node)));
    if (type === 'file') {
      row.sha256 = await hash(fs, node, piece);
      if (stat.nlink > 1) row.hardlinkGroup = node;
    }
    const xattrs = fs
      .listxattr(node)
      .map((name) => [name.toString(), fs.getxattr(node, name).toString('hex')]);
    if (xattrs.length > 0) row.xattrs = Object.fromEntries(xattrs);
    if (type !== 'dir') return;
    for (const entry of [...fs.readdir(node)]) {
      if (entry.name.equals(Buffer.from('.')) || entry.name.equals(Buffer.from('..'))) continue;
      if (fs.lookup(node, entry.name) !== entry.node) throw new Error(`lookup differs: ${entry.name}`);
      if ((fs.getattr(entry.node).mode & constants.S_IFMT) !== entry.mode)
        throw new Error(`type differs: ${entry.name}`);
      await visit(Buffer.concat([path, Buffer.from('/'), entry.name]), entry.node);
    }
  }

  await visit(Buffer.alloc(0), fs.root);
  rows.sort((a, b) => Buffer.compare(a.path, b.path));
  return numberGroups(rows.map(({ row }) => row));
}

/** The same rows with hard link groups numbered 1, 2, ... in order of appearance. */
export function numberGroups(rows: TreeRow[]): TreeRow[] {
  const numbers = new Map<number, number>();
  return rows.map(({ hardlinkGroup, ...row }) => {
    if (hardlinkGroup === undefined) return row;
    if (!numbers.has(hardlinkGroup)) numbers.set(hardlinkGroup, numbers.size + 1);
    return { ...row, hardlinkGroup: numbers.get(hardlinkGroup)! };
  });
}

async function hash(fs: FileSystem, node: number, piece: number): Promise<string> {
  const sum = createHash('sha256');
  const target = Buffer.alloc(piece);
  for (let offset = 0; ; ) {
    const length = await fs.read(node, offset, target);
    sum.update(target.subarray(0, length));
    offset += length;
    if (length < piece) return sum.digest('hex');
  }
}

function text<K extends 'path' | 'target'>(key: K, bytes: Buffer) {
  const decoded = bytes.toString();
  return Buffer.from(decoded).equals(bytes) ? { [key]: decoded } : { [`${key}64`]: bytes.toString('base64') };
}
