import type { TarItem } from './tar-writer.js';

type NodeType = 'file' | 'dir' | 'symlink' | 'fifo' | 'char' | 'block';

/** What a path is in the model: everything that the layers say of it, nothing else. */
export interface ModelNode {
  type: NodeType;
  mode: number;
  uid: number;
  gid: number;
  mtime: number;
  nsec: number;
  content?: string;
  target?: string;
  rdev?: [major: number, minor: number];
  /** Names that are one inode have one number. */
  inode: number;
  xattrs: [name: string, value: Buffer][];
  /** No layer has an entry for it: it is there because something is in it. */
  implied?: boolean;
  /** An implied directory was put into it after its entry. */
  touched?: boolean;
}

/** An operation of a random layer, at a path without symlinks in front of its last component. */
export interface Operation {
  kind: NodeType | 'hardlink' | 'whiteout' | 'opaque';
  path: string[];
  mode: number;
  uid: number;
  gid: number;
  mtime: number;
  nsec: number;
  content: string;
  /** Zeros between the content's two halves, which the tar has as a hole. */
  hole: number;
  rdev: [major: number, minor: number];
  /** For hard links: the path of what is linked. */
  other: string[];
  spelling: number;
}

type Tree = Map<string, ModelNode>;

const key = (path: string[]) => path.map((name) => `/${name}`).join('');
const isBelow = (child: string, parent: string) => child.startsWith(`${parent}/`);

/**
 * An entry below a lower layer's symlink that the same layer removes: tools follow the tar's order there and so come to
 * different results. The random layers have none.
 */
function passesLink(lower: Tree, path: string[]): boolean {
  return path.slice(0, -1).some((_, i) => lower.get(key(path.slice(0, i + 1)))?.type === 'symlink');
}

/**
 * The rules of the OCI image spec in the plainest form: a map from path to node, copied for every layer. Whiteouts of a layer are
 * applied to the lower layers' map before anything else of it.
 */
export class LayerModel {
  tree: Tree = new Map();
  #inodes = 0;

  /** Applies a layer; the result is the operations that make sense as entries, in order. */
  apply(operations: Operation[]): Operation[] {
    const meaningful: Operation[] = [];
    const upper = new Map(this.tree);
    this.#applyWhiteouts(upper, operations);
    for (const operation of operations) {
      if (operation.kind === 'whiteout' || operation.kind === 'opaque') meaningful.push(operation);
      else if (!passesLink(this.tree, operation.path) && this.#put(upper, operation))
        meaningful.push(operation);
    }
    this.tree = upper;
    return meaningful;
  }

  #applyWhiteouts(tree: Tree, operations: Operation[]): void {
    for (const { kind, path } of operations) {
      if (kind !== 'whiteout' && kind !== 'opaque') continue;
      const at = key(path);
      for (const each of [...tree.keys()]) {
        if (isBelow(each, at) || (kind === 'whiteout' && each === at)) tree.delete(each);
      }
    }
  }

  #put(tree: Tree, operation: Operation): boolean {
    const { kind, path, mode, uid, gid, mtime, nsec, other } = operation;
    const parents = path.slice(0, -1).map((_, i) => key(path.slice(0, i + 1)));
    if (parents.some((parent) => tree.has(parent) && tree.get(parent)!.type !== 'dir')) return false;
    const at = key(path);
    let node: ModelNode;
    if (kind === 'hardlink') {
      const linked = tree.get(key(other));
      if (!linked || linked.type === 'dir') return false;
      node = linked;
    } else {
      node = {
        ...{ type: kind as NodeType, mode: kind === 'symlink' ? 0o777 : mode, uid, gid, mtime, nsec },
        inode: ++this.#inodes,
        xattrs: xattrsOf(operation),
        ...(kind === 'file' && { content: contentOf(operation) }),
        ...(kind === 'symlink' && { target: targetOf(operation) }),
        ...((kind === 'char' || kind === 'block') && { rdev: operation.rdev }),
      };
    }
    for (const [i, parent] of parents.entries()) {
      if (!tree.has(parent)) {
        const above = tree.get(parents[i - 1] ?? '');
        if (above) tree.set(parents[i - 1]!, { ...above, touched: true });
        const [zeros, inode] = [{ uid: 0, gid: 0, mtime: 0, nsec: 0 }, ++this.#inodes];
        tree.set(parent, { type: 'dir', mode: 0o755, ...zeros, inode, xattrs: [], implied: true });
      }
    }
    const staysDirectory = tree.get(at)?.type === 'dir' && node.type === 'dir';
    if (!staysDirectory) for (const each of [...tree.keys()]) if (isBelow(each, at)) tree.delete(each);
    tree.set(at, node);
    return true;
  }
}

/** Leads nowhere: what paths through symlinks do is for the overlay's own tests. */
const targetOf = ({ content, uid }: Operation) => `nowhere-${content.length}-${uid}`;

/** The whole content, the hole filled. */
function contentOf({ content, hole }: Operation): string {
  const half = content.length >> 1;
  return `${content.slice(0, half)}${'\0'.repeat(hole)}${content.slice(half)}`;
}

/** Binary values, some empty; `user.` is for files and directories only. */
function xattrsOf({ kind, uid, gid }: Operation): [string, Buffer][] {
  if (uid % 3 !== 0) return [];
  const prefix = kind === 'file' || kind === 'dir' ? 'user.' : 'trusted.';
  const value = Buffer.from(`${uid}\0\xff\n=${gid}`, 'latin1');
  return [
    [`${prefix}k`, value],
    ...(gid % 2 === 0
      ? [[`trusted.${'l'.repeat(gid % 100)}m`, value.subarray(0, 1)] as [string, Buffer]]
      : []),
  ];
}

const TYPEFLAGS = {
  ...{ file: '0', dir: '5', symlink: '2', fifo: '6', char: '3', block: '4' },
  ...{ hardlink: '1', whiteout: '0', opaque: '0' },
};
const SPELLINGS = ['', './', '/', './/', 'x/../'];

/** The tar entry of an operation, its name spelled in one of the ways that mean the same. */
export function toTarItem(operation: Operation): TarItem {
  const { kind, path, mode, uid, gid, mtime, nsec, content, hole, other, rdev, spelling } = operation;
  const prefix = SPELLINGS[spelling % SPELLINGS.length]!;
  const isNode = !['hardlink', 'whiteout', 'opaque'].includes(kind);
  const pax: [string, Buffer | string][] = [];
  if (isNode && nsec > 0) pax.push(['mtime', decimalTime(mtime, nsec)]);
  if (isNode) pax.push(...xattrsOf(operation).map(([k, v]): [string, Buffer] => [`SCHILY.xattr.${k}`, v]));
  if (kind === 'file' && hole > 0) pax.push(...sparseRecords(content, hole));
  return {
    name: Buffer.from(
      `${prefix}${namesOf(kind, path).join('/')}${kind === 'dir' && spelling % 2 === 0 ? '/' : ''}`,
      'latin1',
    ),
    ...{ type: TYPEFLAGS[kind], mode, uid, gid, mtime, pax },
    ...(kind === 'file' && { data: Buffer.from(content, 'latin1') }),
    ...(kind === 'symlink' && { link: targetOf(operation) }),
    ...(kind === 'hardlink' && { link: Buffer.from(`${prefix}${other.join('/')}`, 'latin1') }),
    ...((kind === 'char' || kind === 'block') && { dev: rdev }),
  };
}

function namesOf(kind: Operation['kind'], path: string[]): string[] {
  if (kind === 'whiteout') return [...path.slice(0, -1), `.wh.${path.at(-1)}`];
  return kind === 'opaque' ? [...path, '.wh..wh..opq'] : path;
}

/** Seconds and nanoseconds as one number, which before 1970 counts back. */
function decimalTime(mtime: number, nsec: number): string {
  const total = BigInt(mtime) * 1_000_000_000n + BigInt(nsec);
  const [sign, size] = total < 0n ? ['-', -total] : ['', total];
  return `${sign}${size / 1_000_000_000n}.${String(size % 1_000_000_000n).padStart(9, '0')}`;
}

/** The content's halves with the hole between them (GNU tar, PAX sparse format 0.1). */
function sparseRecords(content: string, hole: number): [string, string][] {
  const half = content.length >> 1;
  const rest = content.length - half;
  return [
    ['GNU.sparse.size', String(content.length + hole)],
    ['GNU.sparse.numblocks', '2'],
    ['GNU.sparse.map', `0,${half},${half + hole},${rest}`],
  ];
}
