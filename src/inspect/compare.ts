import type { Xattr } from '../rafs/tree.js';

/** What one name of an image is, as texts that can be compared and shown. */
export interface ComparedEntry {
  type: string;
  /** Permission, set-id and sticky bits in octal digits. */
  mode: string;
  /** `uid:gid` */
  owner: string;
  /** Seconds since 1970 and nanoseconds. */
  mtime: string;
  /** Bytes of a file. */
  size: string;
  /** `major:minor` of a device. */
  device: string;
  /** Target of a symlink, bytes as latin1 text. */
  target: string;
  /** `name=hex`, in the order of names. */
  xattrs: string;
  /** The first of the names of the same inode, bytes as latin1 text; the entry's own path if it has no other. */
  link: string;
  /** Digests of a file's chunks one after the other; empty for what is no file. */
  content: Buffer;
}

/**
 * The names of an image; paths are the bytes as latin1 text. Entries are made when they are asked for, as all of them together
 * take several times the memory of the image's metadata.
 */
export interface ComparedTree {
  /** Every path once, in an order that `get` is quick in. */
  paths(): Iterable<string>;
  /** The entry of a path, undefined if there is none. May read the content of a file. */
  get(path: string): Promise<ComparedEntry | undefined>;
  has(path: string): boolean;
}

/** How file contents are made comparable. */
export interface ChunkForm {
  chunkSize: number;
  digester: 'blake3' | 'sha256';
}

/** Bytes of the digests that `content` is made of. */
const DIGEST_SIZE = 32;

/** What is different in a name that both trees have. */
interface Difference {
  field: Exclude<keyof ComparedEntry, 'content'> | 'content';
  /** Texts of both sides; not for content. */
  before?: string;
  after?: string;
  /** Offset in the file of the first chunk that differs. */
  offset?: number;
}

/** A name that is not the same in both trees. */
export interface Change {
  path: string;
  kind: 'added' | 'removed' | 'changed';
  differences: Difference[];
}

/** All names that are not the same in both trees, in the order of their bytes. */
export async function compareTrees(
  before: ComparedTree,
  after: ComparedTree,
  { chunkSize }: ChunkForm,
): Promise<Change[]> {
  const changes: Change[] = [];
  for (const path of before.paths()) {
    if (!after.has(path)) {
      changes.push({ path, kind: 'removed', differences: [] });
      continue;
    }
    const differences = compareEntries((await before.get(path))!, (await after.get(path))!, chunkSize);
    if (differences.length > 0) changes.push({ path, kind: 'changed', differences });
  }
  for (const path of after.paths()) {
    if (!before.has(path)) changes.push({ path, kind: 'added', differences: [] });
  }
  return changes.sort((a, b) => (a.path < b.path ? -1 : 1));
}

function compareEntries(before: ComparedEntry, after: ComparedEntry, chunkSize: number): Difference[] {
  if (before.type !== after.type) return [{ field: 'type', before: before.type, after: after.type }];
  const fields = ['mode', 'owner', 'mtime', 'size', 'device', 'target', 'xattrs', 'link'] as const;
  const differences: Difference[] = fields
    .filter((field) => before[field] !== after[field])
    .map((field) => ({ field, before: before[field], after: after[field] }));
  if (!before.content.equals(after.content)) {
    differences.push({
      field: 'content',
      offset: firstDifference(before.content, after.content) * chunkSize,
    });
  }
  return differences;
}

/** Number of the first chunk whose digests are not the same. */
function firstDifference(before: Buffer, after: Buffer): number {
  let at = 0;
  while (before.subarray(at, at + DIGEST_SIZE).equals(after.subarray(at, at + DIGEST_SIZE)))
    at += DIGEST_SIZE;
  return at / DIGEST_SIZE;
}

/** The attributes of an inode in the form in which they are compared. */
export function comparable(inode: {
  type: string;
  mode: number;
  uid: number;
  gid: number;
  mtimeSec: number;
  mtimeNsec: number;
  size: number;
  rdev: { major: number; minor: number } | undefined;
  target: Buffer | undefined;
  xattrs: readonly Xattr[];
}): Omit<ComparedEntry, 'link' | 'content'> {
  const { type, rdev } = inode;
  return {
    type,
    // That of a symlink means nothing, and not every tool writes what a file system shows.
    mode: (type === 'symlink' ? 0o777 : inode.mode & 0o7777).toString(8).padStart(4, '0'),
    owner: `${inode.uid}:${inode.gid}`,
    mtime: `${inode.mtimeSec}.${String(inode.mtimeNsec).padStart(9, '0')}`,
    size: type === 'file' ? String(inode.size) : '',
    device: rdev ? `${rdev.major}:${rdev.minor}` : '',
    target: inode.target?.toString('latin1') ?? '',
    xattrs: inode.xattrs
      .map(({ name, value }) => `${name.toString('latin1')}=${value.toString('hex')}`)
      .sort()
      .join(' '),
  };
}

/**
 * For everything that has several names, the first of them. `names` gives each name's path and what it names, and is called
 * twice at most.
 */
export function firstNames<T>(names: () => Iterable<[path: string, named: T]>): Map<T, string> {
  const seen = new Set<T>();
  const first = new Map<T, string>();
  for (const [path, named] of names()) {
    if (seen.has(named)) first.set(named, path);
    seen.add(named);
  }
  if (first.size === 0) return first;
  for (const [path, named] of names()) {
    const known = first.get(named);
    if (known !== undefined && path < known) first.set(named, path);
  }
  return first;
}

/** Longest text of one side that is shown. */
const MAX_SHOWN = 120;

/** What is different, in words: `mode 0644 -> 0600, content from byte 1048576`. Texts are latin1 as in the entries. */
export function differencesText(differences: Difference[]): string {
  const show = (text: string | undefined) =>
    !text ? 'none' : text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}…` : text;
  return differences
    .map(({ field, before, after, offset }) =>
      field === 'content' ? `content from byte ${offset}` : `${field} ${show(before)} -> ${show(after)}`,
    )
    .join(', ');
}
