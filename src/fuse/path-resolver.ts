import type { FileSystem, NodeId } from './file-system.js';

/** Paths that one mount remembers: about 1 MB. A miss costs one binary search per path component. */
const DEFAULT_CAPACITY = 8192;

const SLASH = 0x2f;

/**
 * Finds nodes by absolute path, as bytes. Remembers up to `capacity` of the paths used last, so that reading a file
 * in pieces, or stat of everything in one directory, does not walk from the root each time. The tree never
 * changes, so what is remembered stays true.
 */
export class PathResolver {
  readonly #fs: FileSystem;
  readonly #capacity: number;
  /** By path in latin1, which keeps every byte; in order of use. */
  readonly #nodes = new Map<string, NodeId>();

  constructor(fs: FileSystem, { capacity = DEFAULT_CAPACITY }: { capacity?: number } = {}) {
    this.#fs = fs;
    this.#capacity = capacity;
  }

  /** The node at `path` ("/" or "/a/b"). Throws what `lookup` throws: ENOENT, ENOTDIR. */
  resolve(path: Buffer): NodeId {
    const key = path.toString('latin1');
    let { node, end } = this.#longestKnown(key);
    while (end < path.length) {
      const start = path[end] === SLASH ? end + 1 : end;
      if (start === path.length) break;
      const slash = path.indexOf(SLASH, start);
      end = slash < 0 ? path.length : slash;
      node = this.#fs.lookup(node, path.subarray(start, end));
      this.#remember(key.slice(0, end), node);
    }
    return node;
  }

  /** The remembered node of the longest leading part of `key`, and where that part ends. */
  #longestKnown(key: string): { node: NodeId; end: number } {
    for (let end = key.length; end > 0; end = key.lastIndexOf('/', end - 1)) {
      const part = key.slice(0, end);
      const node = this.#nodes.get(part);
      if (node !== undefined) {
        this.#remember(part, node);
        return { node, end };
      }
    }
    return { node: this.#fs.root, end: 0 };
  }

  #remember(part: string, node: NodeId): void {
    this.#nodes.delete(part);
    this.#nodes.set(part, node);
    if (this.#nodes.size > this.#capacity) this.#nodes.delete(this.#nodes.keys().next().value!);
  }
}
