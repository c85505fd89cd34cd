import { createHash } from 'node:crypto';
import { closeSync, lstatSync, openSync, readdirSync, readlinkSync, readSync } from 'node:fs';
import koffi from 'koffi';

/** What a tree on disk holds at one path, as text that can be compared and printed. */
export interface TreeEntry {
  type: string;
  mode: string;
  owner: string;
  nlink: string;
  mtime: string;
  size: string;
  rdev: string;
  target: string;
  xattrs: string;
  sha256: string;
}

/** Paths are latin1 text of the bytes, so that names that are not UTF-8 stay apart. */
export type Tree = Map<string, TreeEntry>;

export type TreeField = keyof TreeEntry;

const libc = koffi.load('libc.so.6');
const llistxattr = libc.func('llistxattr', 'long', ['void *', 'void *', 'size_t']);
const lgetxattr = libc.func('lgetxattr', 'long', ['void *', 'void *', 'void *', 'size_t']);

/** Reads a whole tree: every attribute, every extended attribute, every byte (as a digest). */
export function readTree(root: string, options: { content?: boolean } = {}): Tree {
  const tree: Tree = new Map();
  const visit = (path: string) => {
    const full = Buffer.concat([Buffer.from(root), Buffer.from(path === '/' ? '' : path, 'latin1')]);
    const stat = lstatSync(full, { bigint: true });
    const kind = typeOf(stat);
    tree.set(path, {
      type: kind,
      mode: (stat.mode & 0o7777n).toString(8).padStart(4, '0'),
      owner: `${stat.uid}:${stat.gid}`,
      nlink: kind === 'dir' ? '' : String(stat.nlink),
      mtime: String(stat.mtimeNs),
      size: kind === 'file' || kind === 'symlink' ? String(stat.size) : '',
      rdev: kind === 'char' || kind === 'block' ? String(stat.rdev) : '',
      target: kind === 'symlink' ? readlinkSync(full, { encoding: 'buffer' }).toString('latin1') : '',
      xattrs: xattrsOf(full),
      sha256: kind === 'file' && (options.content ?? true) ? hashFile(full) : '',
    });
    if (kind !== 'dir') return;
    for (const name of readdirSync(full, { encoding: 'buffer' })) {
      visit(`${path === '/' ? '' : path}/${name.toString('latin1')}`);
    }
  };
  visit('/');
  return tree;
}

/**
 * The differences of two trees, a line each; none: the trees are equal. `except` says which fields of which paths need
 * not be equal, and is told what both sides hold.
 */
export function compareTrees(
  expected: Tree,
  actual: Tree,
  except: (path: string, field: TreeField, expected: string, actual: string) => boolean = () => false,
): string[] {
  const differences: string[] = [];
  for (const path of [...new Set([...expected.keys(), ...actual.keys()])].sort()) {
    const left = expected.get(path);
    const right = actual.get(path);
    if (!left || !right) {
      differences.push(`${path}: ${left ? 'missing' : 'should not be there'}`);
      continue;
    }
    for (const field of Object.keys(left) as TreeField[]) {
      if (left[field] === right[field] || except(path, field, left[field], right[field])) continue;
      differences.push(`${path}: ${field} is ${right[field]}, expected ${left[field]}`);
    }
  }
  return differences;
}

function typeOf(stat: ReturnType<typeof lstatSync> & object): string {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'dir';
  if (stat.isSymbolicLink()) return 'symlink';
  if (stat.isCharacterDevice()) return 'char';
  if (stat.isBlockDevice()) return 'block';
  return stat.isFIFO() ? 'fifo' : 'socket';
}

function hashFile(path: Buffer): string {
  const file = openSync(path, 'r');
  try {
    const hash = createHash('sha256');
    const buffer = Buffer.allocUnsafe(1 << 20);
    for (let read = readSync(file, buffer); read > 0; read = readSync(file, buffer)) {
      hash.update(buffer.subarray(0, read));
    }
    return hash.digest('hex');
  } finally {
    closeSync(file);
  }
}

/** `name=hex` of every extended attribute in the order of names. */
function xattrsOf(path: Buffer): string {
  const zeroEnded = Buffer.concat([path, Buffer.from([0])]);
  const list = callWithBuffer((buffer) => llistxattr(zeroEnded, buffer, buffer.length) as number);
  if (list === undefined) return '';
  const names = list.toString('latin1').split('\0').filter(Boolean).sort();
  return names
    .map((name) => {
      const key = Buffer.from(`${name}\0`, 'latin1');
      const value = callWithBuffer((buffer) => lgetxattr(zeroEnded, key, buffer, buffer.length) as number);
      return `${name}=${value?.toString('hex') ?? '?'}`;
    })
    .join(' ');
}

function callWithBuffer(call: (buffer: Buffer) => number): Buffer | undefined {
  const buffer = Buffer.alloc(1 << 16);
  const size = Number(call(buffer));
  return size < 0 ? undefined : buffer.subarray(0, size);
}
