import type { DirectoryEntry, NodeId } from './file-system.js';

/** Directories that are being listed at the same time and go on where they stopped; more start from the front again. */
const MAX_CURSORS = 32;

interface Cursor {
  node: NodeId;
  /** How many entries were taken. */
  position: number;
  entries: Iterator<DirectoryEntry>;
  /** Taken, but did not fit. */
  waiting: DirectoryEntry | undefined;
}

/**
 * Lists directories piece by piece. The kernel asks for "entries from number `position` on" without keeping anything open,
 * so the listing that stopped there is looked for; only if it is gone (many readers, a new server) are entries counted
 * from the front. A directory of any size is thus listed in linear time.
 */
export class DirectoryCursors {
  readonly #list: (node: NodeId) => Iterable<DirectoryEntry>;
  #cursors: Cursor[] = [];

  constructor(list: (node: NodeId) => Iterable<DirectoryEntry>) {
    this.#list = list;
  }

  /**
   * Hands entries from number `position` on to `take`, until it says false (that one did not fit) or there are no more.
   * Throws what listing throws.
   */
  list(node: NodeId, position: number, take: (entry: DirectoryEntry, next: number) => boolean): void {
    const cursor = this.#find(node, position);
    for (;;) {
      cursor.waiting ??= nextOf(cursor.entries);
      if (cursor.waiting === undefined || !take(cursor.waiting, cursor.position + 1)) break;
      cursor.waiting = undefined;
      cursor.position++;
    }
    // Also at the end: the kernel asks once more, to hear that there is nothing.
    this.#cursors.push(cursor);
    if (this.#cursors.length > MAX_CURSORS) this.#cursors.shift();
  }

  #find(node: NodeId, position: number): Cursor {
    const at = this.#cursors.findIndex((cursor) => cursor.node === node && cursor.position === position);
    if (at >= 0 && position > 0) return this.#cursors.splice(at, 1)[0]!;
    const cursor: Cursor = {
      node,
      position,
      entries: this.#list(node)[Symbol.iterator](),
      waiting: undefined,
    };
    for (let skipped = 0; skipped < position; skipped++) if (nextOf(cursor.entries) === undefined) break;
    return cursor;
  }
}

function nextOf(entries: Iterator<DirectoryEntry>): DirectoryEntry | undefined {
  const { done, value } = entries.next();
  return done ? undefined : value;
}
