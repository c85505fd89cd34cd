import type { TarItem } from './tar-writer.js';

/** What a path is in the model: everything that the layers say of it, nothing else. */
interface ModelNode {
  type: 'file' | 'dir' | 'symlink' | 'fifo';
  mode: number;
  uid: number;
  mtime: number;
  content?: string;
  target?: string;
  /** Names that are one inode have one number. */
  inode: number;
  xattr?: string;
}

/** An operation of a random layer, at a path without symlinks in front of its last component. */
export interface Operation {
  kind: 'file' | 'dir' | 'symlink' | 'fifo' | 'hardlink' | 'whiteout' | 'opaque';
  path: string[];
  mode: number;
  uid: number;
  mtime: number;
  content: string;
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
    const { kind, path, mode, uid, mtime, content, other } = operation;
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
        type: kind as ModelNode['type'],
        mode,
        uid,
        mtime,
        inode: ++this.#inodes,
        ...(kind === 'file' && { content }),
        ...(kind === 'symlink' && { target: targetOf(operation) }),
        ...(uid % 3 === 0 && { xattr: `value ${uid}` }),
      };
    }
    for (const parent of parents) {
      if (!tree.has(parent)) {
        tree.set(parent, { type: 'dir', mode: 0o755, uid: 0, mtime: 0, inode: ++this.#inodes });
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

const TYPEFLAGS = { file: '0', dir: '5', symlink: '2', fifo: '6', hardlink: '1', whiteout: '0', opaque: '0' };
const SPELLINGS = ['', './', '/', './/', 'x/../'];

/** The tar entry of an operation, its name spelled in one of the ways that mean the same. */
export function toTarItem(operation: Operation): TarItem {
  const { kind, path, mode, uid, mtime, content, other, spelling } = operation;
  const parent = path.slice(0, -1);
  const names =
    kind === 'whiteout'
      ? [...parent, `.wh.${path.at(-1)}`]
      : kind === 'opaque'
        ? [...path, '.wh..wh..opq']
        : path;
  const prefix = SPELLINGS[spelling % SPELLINGS.length]!;
  return {
    name: Buffer.from(
      `${prefix}${names.join('/')}${kind === 'dir' && spelling % 2 === 0 ? '/' : ''}`,
      'latin1',
    ),
    type: TYPEFLAGS[kind],
    mode,
    uid,
    mtime,
    ...(kind === 'file' && { data: content }),
    ...(kind === 'symlink' && { link: targetOf(operation) }),
    ...(kind === 'hardlink' && { link: Buffer.from(`${prefix}${other.join('/')}`, 'latin1') }),
    ...(kind !== 'hardlink' &&
      kind !== 'whiteout' &&
      kind !== 'opaque' &&
      uid % 3 === 0 && {
        pax: [['SCHILY.xattr.user.k', `value ${uid}`]] as [string, string][],
      }),
  };
}
