import { createHash } from 'node:crypto';
import { lstat, open, readdir, readlink } from 'node:fs/promises';
import { promisify } from 'node:util';
import koffi from 'koffi';

/** What a tree on disk holds at one path, as text that can be compared and printed. */
interface TreeEntry {
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
const llistxattr = callWithBuffer('long llistxattr(void *path, void *list, size_t size)');
const lgetxattr = callWithBuffer('long lgetxattr(void *path, void *name, void *value, size_t size)');

/**
 * Reads a whole tree: every attribute, every extended attribute and, with `content`, every byte (as a digest). Never waits for the tree
 * synchronously, so that the process may serve it, or the registry behind it, itself.
 */
export async function readTree(root: string, { content = true }: { content?: boolean } = {}): Promise<Tree> {
  const tree: Tree = new Map();
  const buffer = Buffer.allocUnsafe(1 << 20);
  const visit = async (path: string) => {
    const full = Buffer.concat([Buffer.from(root), Buffer.from(path === '/' ? '' : path, 'latin1')]);
    const stat = await lstat(full, { bigint: true });
    const kind = typeOf(stat);
    tree.set(path, {
      type: kind,
      mode: (stat.mode & 0o7777n).toString(8).padStart(4, '0'),
      owner: `${stat.uid}:${stat.gid}`,
      nlink: kind === 'dir' ? '' : String(stat.nlink),
      mtime: String(stat.mtimeNs),
      size: kind === 'file' || kind === 'symlink' ? String(stat.size) : '',
      rdev: kind === 'char' || kind === 'block' ? String(stat.rdev) : '',
      target: kind === 'symlink' ? (await readlink(full, { encoding: 'buffer' })).toString('latin1') : '',
      xattrs: await xattrsOf(full),
      sha256: kind === 'file' && content ? await hashFile(full, buffer) : '',
    });
    if (kind !== 'dir') return;
    for (const name of await readdir(full, { encoding: 'buffer' })) {
      await visit(`${path === '/' ? '' : path}/${name.toString('latin1')}`);
    }
  };
  await visit('/');
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

function typeOf(stat: Awaited<ReturnType<typeof lstat>>): string {
  if (stat.isFile()) return 'file';
  if (stat.isDirectory()) return 'dir';
  if (stat.isSymbolicLink()) return 'symlink';
  if (stat.isCharacterDevice()) return 'char';
  if (stat.isBlockDevice()) return 'block';
  return stat.isFIFO() ? 'fifo' : 'socket';
}

async function hashFile(path: Buffer, buffer: Buffer): Promise<string> {
  const file = await open(path, 'r');
  try {
    const hash = createHash('sha256');
    for (;;) {
      const { bytesRead } = await file.read(buffer, 0, buffer.length, null);
      hash.update(buffer.subarray(0, bytesRead));
      // Less than was asked for: a file's end.
      if (bytesRead < buffer.length) return hash.digest('hex');
    }
  } finally {
    await file.close();
  }
}

/** `name=hex` of every extended attribute in the order of names. */
async function xattrsOf(path: Buffer): Promise<string> {
  const zeroEnded = Buffer.concat([path, Buffer.of(0)]);
  const list = await llistxattr(zeroEnded);
  if (list === undefined || list.length === 0) return '';
  const pairs: string[] = [];
  for (const name of list.toString('latin1').split('\0').filter(Boolean).sort()) {
    const value = await lgetxattr(zeroEnded, Buffer.from(`${name}\0`, 'latin1'));
    pairs.push(`${name}=${value?.toString('hex') ?? '?'}`);
  }
  return pairs.join(' ');
}

/** A libc function that fills a buffer, its last two arguments; undefined if it fails. */
function callWithBuffer(prototype: string): (...args: Buffer[]) => Promise<Buffer | undefined> {
  const call = promisify(libc.func(prototype).async);
  const idle: Buffer[] = [];
  return async (...args) => {
    const buffer = idle.pop() ?? Buffer.alloc(1 << 16);
    try {
      const size = Number(await call(...args, buffer, buffer.length));
      return size < 0 ? undefined : Buffer.copyBytesFrom(buffer, 0, size);
    } finally {
      idle.push(buffer);
    }
  };
}
