import type { FileInode, TreeNode } from '../../rafs/tree.js';
import type { FileFacts } from './file-facts.js';

const MAX_SYMLINK_HOPS = 40;
/** Longest path that is followed, in names, targets of symbolic links included. */
const MAX_NAMES = 1024;

/** A file of an image's tree, or a directory. */
export interface FoundFile {
  /** Path without symbolic links, and the one that was asked for, without `.` and `..`. */
  path: string;
  node: TreeNode;
  facts: FileFacts;
}

/** An image's finished tree, by paths; bytes as latin1 text. */
export class ImageFiles {
  readonly #root: TreeNode;
  readonly #facts: ReadonlyMap<FileInode, FileFacts>;

  constructor(root: TreeNode, facts: ReadonlyMap<FileInode, FileFacts>) {
    this.#root = root;
    this.#facts = facts;
  }

  /** The file at an absolute path, symbolic links followed; undefined if there is none, or another kind. */
  file(path: string): FoundFile | undefined {
    const found = this.#find(path);
    return found?.node.inode.type === 'file' ? found : undefined;
  }

  isDirectory(path: string): boolean {
    return this.#find(path)?.node.inode.type === 'dir';
  }

  /** Names in a directory, in the order of their bytes; none if there is no such directory. */
  names(path: string): string[] {
    return [...(this.#find(path)?.node.children?.keys() ?? [])].sort();
  }

  #find(path: string): FoundFile | undefined {
    const ahead = path.split('/').reverse();
    const passed: { name: string; node: TreeNode }[] = [];
    let node = this.#root;
    for (let hops = 0, steps = 0; ahead.length > 0; steps++) {
      if (steps > MAX_NAMES) return undefined;
      const name = ahead.pop()!;
      if (name === '' || name === '.') continue;
      if (name === '..') {
        passed.pop();
        node = passed.at(-1)?.node ?? this.#root;
        continue;
      }
      const child = node.children?.get(name);
      if (child === undefined) return undefined;
      if (child.inode.type === 'symlink') {
        if (++hops > MAX_SYMLINK_HOPS) return undefined;
        const target = child.inode.target.toString('latin1');
        if (target.startsWith('/')) {
          passed.length = 0;
          node = this.#root;
        }
        ahead.push(...target.split('/').reverse());
        continue;
      }
      passed.push({ name, node: child });
      node = child;
    }
    const facts = node.inode.type === 'file' ? (this.#facts.get(node.inode) ?? {}) : {};
    return { path: `/${passed.map(({ name }) => name).join('/')}`, node, facts };
  }
}

/** `path` without its last name. */
export function dirname(path: string): string {
  return path.slice(0, Math.max(path.lastIndexOf('/'), 0)) || '/';
}

export function basename(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** `path` as seen from the directory `from`. */
export function join(from: string, path: string): string {
  return path.startsWith('/') ? path : `${from === '/' ? '' : from}/${path}`;
}
