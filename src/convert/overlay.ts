import { RafterError } from '../errors.js';
import { MAX_NAME_SIZE } from '../rafs/limits.js';
import type { FileInode, Inode, TreeNode } from '../rafs/tree.js';
import { classifyPath, splitPath } from './layer-path.js';
import type { Losses } from './losses.js';
import { showPath, type TarEntryHead } from './tar-entry.js';
import { defaultDirectory, makeInode } from './tree-inode.js';

/** Most symlinks that one path may lead through, as in Linux' and Go's secure joins. */
const MAX_SYMLINK_HOPS = 255;

/** What a layer has to do with a name. */
interface Mark {
  /** The layer has an entry for it; otherwise the name is that of a directory that the layer only passes through. */
  described: boolean;
}

/** A name of the tree. What the layer at hand has not marked comes from lower layers. */
interface Node extends TreeNode {
  children?: Map<string, Node> | undefined;
  mark?: Mark | undefined;
}

/** A directory of the tree, its children at hand. */
type Directory = Node & { children: Map<string, Node> };

/** An image's tree before its first layer: a root directory with default attributes. */
export function emptyTree(): TreeNode {
  return makeNode(defaultDirectory(), undefined);
}

/** Of one shape for all kinds, as there are many; marks are shared by the names of a layer. */
function makeNode(inode: Inode, mark: Mark | undefined): Node {
  return { inode, children: inode.type === 'dir' ? new Map() : undefined, mark };
}

/**
 * Applies the entries of one layer to the tree of the layers below it, as the OCI image spec says ("Layer changeset") and, where
 * it says nothing, as umoci and containerd do:
 * - whiteouts and opaque markers remove what lower layers brought, wherever in the tar they stand, and never appear;
 * - a directory over a directory takes the new attributes and keeps the children; every other entry replaces what was there;
 * - a parent that the layer has no entry for keeps its attributes if a lower layer has it; otherwise it is made, 0755 root;
 * - `..` and symlinks in the directory part of a name are followed inside the tree and never leave it;
 * - a hard link shares the inode of its target, of this or a lower layer; attributes that its entry gives do not count.
 */
export class LayerOverlay {
  readonly #root: Directory;
  readonly #layer: string;
  readonly #losses: Losses;
  /** Nodes that this layer has an entry for, and directories that it only passes through. */
  readonly #described: Mark = { described: true };
  readonly #passed: Mark = { described: false };
  /**
   * Directories made where a lower layer has something else, and the entry that needed each. A whiteout or the directory's own
   * entry may still come; without one the layer is wrong.
   */
  readonly #unannounced = new Map<Node, { name: string; what: string }>();

  constructor(root: TreeNode, { layer, losses }: { layer: string; losses: Losses }) {
    this.#root = asDirectory(root);
    this.#layer = layer;
    this.#losses = losses;
  }

  /**
   * Applies one entry. The result is the file whose content the caller has to fill in (`chunks`), if the entry made one.
   * MALFORMED or UNSUPPORTED, naming layer and path, for an entry that cannot be.
   */
  apply(entry: TarEntryHead): FileInode | undefined {
    const what = `${this.#layer}: entry ${showPath(entry.path)}`;
    const place = classifyPath(entry.path, what);
    switch (place.kind) {
      case 'ignored':
        return undefined;
      case 'whiteout':
        this.#whiteout(place.parent, place.name, what);
        return undefined;
      case 'opaque': {
        const directory = this.#findDirectory(place.parent, what);
        if (directory) this.#removeLower(directory);
        return undefined;
      }
      case 'root':
        if (entry.type !== 'dir') throw new RafterError('MALFORMED', `${what}: the root must be a directory`);
        this.#root.inode = makeInode(entry, what, this.#losses);
        this.#root.mark = this.#described;
        return undefined;
      case 'entry': {
        const inode =
          entry.type === 'hardlink'
            ? this.#linked(entry.linkTarget, what)
            : makeInode(entry, what, this.#losses);
        this.#put(this.#makeDirectory(place.parent, what), place.name, inode);
        return inode.type === 'file' && entry.type === 'file' ? inode : undefined;
      }
    }
  }

  /** Call after the last entry. MALFORMED if the layer has entries below something that is no directory. */
  finish(): void {
    for (const { what, name } of this.#unannounced.values()) throw notADirectory(what, name);
  }

  #put(directory: Directory, name: string, inode: Inode): void {
    const existing = directory.children.get(name);
    if (existing) this.#unannounced.delete(existing);
    if (existing?.children && inode.type === 'dir') {
      existing.inode = inode;
      existing.mark = this.#described;
      return;
    }
    directory.children.set(ownCopy(name), makeNode(inode, this.#described));
  }

  #linked(target: Buffer, what: string): Inode {
    const parent = splitPath(target, what);
    const name = parent.pop();
    const node = name === undefined ? this.#root : this.#findDirectory(parent, what)?.children.get(name);
    if (!node) {
      throw new RafterError('MALFORMED', `${what}: hard link to ${showPath(target)}, which is not there`);
    }
    if (node.inode.type === 'dir') {
      throw new RafterError('MALFORMED', `${what}: hard link to the directory ${showPath(target)}`);
    }
    return node.inode;
  }

  #whiteout(parent: string[], name: string, what: string): void {
    const directory = this.#findDirectory(parent, what);
    const node = directory?.children.get(name);
    if (!directory || !node) return;
    if (!this.#isOfThisLayer(node)) directory.children.delete(name);
    else if (node.children) {
      this.#resetPassed(node);
      this.#removeLower(asDirectory(node));
    }
  }

  /** Removes everything below `directory` that lower layers brought. Symlinks make trees deeper than a stack: no recursion. */
  #removeLower(directory: Directory): void {
    const ahead = [directory];
    for (let current = ahead.pop(); current !== undefined; current = ahead.pop()) {
      for (const [name, child] of current.children) {
        if (!this.#isOfThisLayer(child)) current.children.delete(name);
        else if (child.children) {
          this.#resetPassed(child);
          ahead.push(asDirectory(child));
        }
      }
    }
  }

  /** A directory of a lower layer was removed, but this layer has something in it: it is made anew. */
  #resetPassed(node: Node): void {
    this.#unannounced.delete(node);
    if (node.mark !== this.#described) node.inode = defaultDirectory();
  }

  #isOfThisLayer({ mark }: Node): boolean {
    return mark === this.#described || mark === this.#passed;
  }

  /** The directory at `path`, or undefined if it is not there. */
  #findDirectory(path: string[], what: string): Directory | undefined {
    const { directory, missing } = this.#walk(path, what);
    return missing.length === 0 ? directory : undefined;
  }

  /** The directory at `path`; what is missing of it is made. MALFORMED if something on the way is no directory. */
  #makeDirectory(path: string[], what: string): Directory {
    const { directory, missing, passed } = this.#walk(path, what);
    for (const node of passed) if (node.mark !== this.#described) node.mark = this.#passed;
    let current = directory;
    for (const name of missing) {
      // A symlink's target may hold what no entry's name may.
      if (name.length > MAX_NAME_SIZE) {
        throw new RafterError('LIMIT_EXCEEDED', `${what}: a name has more than ${MAX_NAME_SIZE} bytes`);
      }
      const inFront = current.children.get(name);
      if (inFront && this.#isOfThisLayer(inFront)) throw notADirectory(what, name);
      const node = makeNode(defaultDirectory(), this.#passed) as Directory;
      current.children.set(ownCopy(name), node);
      if (inFront) this.#unannounced.set(node, { name, what });
      current = node;
    }
    return current;
  }

  /**
   * Follows `path` from the root, symlinks included, without leaving the tree: an absolute target starts at the root again, and `..`
   * stays at the root. Gives the last directory that exists, the names below it that are missing, and the directories from
   * the root to it.
   */
  #walk(path: string[], what: string): { directory: Directory; missing: string[]; passed: Directory[] } {
    let passed = [this.#root];
    const missing: string[] = [];
    const ahead = path.toReversed();
    for (let hops = 0; ahead.length > 0; ) {
      const name = ahead.pop()!;
      if (name === '' || name === '.') continue;
      if (name === '..') {
        if (missing.length > 0) missing.pop();
        else if (passed.length > 1) passed.pop();
        continue;
      }
      const child = missing.length > 0 ? undefined : passed.at(-1)!.children.get(name);
      if (child?.children) passed.push(asDirectory(child));
      else if (child?.inode.type === 'symlink') {
        if (++hops > MAX_SYMLINK_HOPS) {
          throw new RafterError('MALFORMED', `${what}: more than ${MAX_SYMLINK_HOPS} symlinks in its path`);
        }
        const target = child.inode.target.toString('latin1');
        if (target.startsWith('/')) passed = [this.#root];
        ahead.push(...target.split('/').toReversed());
      } else missing.push(name);
    }
    return { directory: passed.at(-1)!, missing, passed };
  }
}

/** A name is cut out of a path, which it would keep in memory. */
function ownCopy(name: string): string {
  return Buffer.from(name, 'latin1').toString('latin1');
}

function notADirectory(what: string, name: string): RafterError {
  return new RafterError(
    'MALFORMED',
    `${what}: ${showPath(Buffer.from(name, 'latin1'))} in its path is not a directory`,
  );
}

function asDirectory(node: Node): Directory {
  if (!node.children) throw new Error('this node is no directory');
  return node as Directory;
}
