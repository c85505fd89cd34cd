import type { Chunk } from '../rafs/tree.js';

/** A chunk that has a place, or gets it when the units in front of it are written. */
export interface ChunkSlot {
  chunk: Chunk | undefined;
}

/** The chunks of an image that were stored so far, by content: what is in it already is not stored again. */
export class ChunkIndex {
  readonly #slots = new Map<string, ChunkSlot>();

  /** The slot of the chunk with this digest and size; `isNew` if nobody asked for it before and it has to be stored. */
  claim(digest: Buffer, size: number): { slot: ChunkSlot; isNew: boolean } {
    const key = `${digest.toString('latin1')}${size}`;
    const known = this.#slots.get(key);
    if (known) return { slot: known, isNew: false };
    const slot: ChunkSlot = { chunk: undefined };
    this.#slots.set(key, slot);
    return { slot, isNew: true };
  }
}
