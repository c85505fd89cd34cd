import type { FoundFile } from './image-files.js';

/** Most files of a start-up set, and most bytes of them. */
export const MAX_STARTUP_FILES = 4096;
export const MAX_STARTUP_BYTES = 128 << 20;

/** Files in the order of their first use. */
export class StartupSet {
  readonly #files = new Map<string, number>();
  readonly #seen = new Set<string>();
  #bytes = 0;

  /** Paths without symbolic links. */
  get paths(): string[] {
    return [...this.#files.keys()];
  }
  get bytes(): number {
    return this.#bytes;
  }

  /** False if it was there already, or is too much. */
  add({ path, node }: FoundFile): boolean {
    if (node.inode.type !== 'file' || this.#files.has(path) || this.#files.size >= MAX_STARTUP_FILES)
      return false;
    const { size } = node.inode;
    if (this.#bytes + size > MAX_STARTUP_BYTES) return false;
    this.#files.set(path, size);
    this.#bytes += size;
    return true;
  }

  /** True once for each `key`, as many as a set may have files: what is looked at once need not be again. */
  visit(key: string): boolean {
    if (this.#seen.has(key) || this.#seen.size >= 4 * MAX_STARTUP_FILES) return false;
    this.#seen.add(key);
    return true;
  }
}
