import { INODE_SLOT } from './inode.js';
import { alignUp, BLOCK_SIZE } from './limits.js';

/** First inode (the root) stands one block behind the start of the meta area, so that inode number 0 stays unused. */
const FIRST_INODE_OFFSET = 4096;

const SLOTS_PER_BLOCK = BLOCK_SIZE / INODE_SLOT;

/** Where a directory's or symlink's data goes; offsets in bytes from the start of the meta area. */
export interface FlatPlace {
  /** Of the inode. */
  offset: number;
  /** Of the whole blocks; of all data if `inline` is false. */
  dataOffset: number;
  /** The data that does not fill a block stands right behind inode and xattrs. */
  inline: boolean;
}

/**
 * Gives inodes and their data places in the meta area, in the way of the Nydus builder: mostly one behind the other, and
 * small things in the free ends of blocks that had to be left.
 */
export class Placement {
  #end = FIRST_INODE_OFFSET;
  /** Start offsets of blocks whose last i slots are free; first in, first out. */
  readonly #free: Queue[] = Array.from({ length: SLOTS_PER_BLOCK }, () => new Queue());

  /** Bytes used so far. */
  get end(): number {
    return this.#end;
  }

  /** A regular file: `size` bytes of inode, xattrs and chunk index, which may cross blocks. Returns its offset. */
  placeFile(size: number): number {
    return this.#take(size) ?? this.#bump(size);
  }

  /** A device, fifo or socket: `size` bytes of inode and xattrs. */
  placeSpecial(size: number): number {
    return this.#bump(size);
  }

  /** A directory or symlink with `dataSize` bytes of data behind `size` bytes of inode and xattrs. */
  placeFlat(size: number, dataSize: number): FlatPlace {
    const tail = dataSize % BLOCK_SIZE;
    if (tail !== 0 && size + tail <= BLOCK_SIZE) return this.#placeInline(size + tail, dataSize - tail);
    const offset = this.#take(size) ?? this.#bumpUnaligned(size);
    this.#startBlock();
    const dataOffset = this.#end;
    this.#end = alignUp(dataOffset + dataSize, BLOCK_SIZE);
    return { offset, dataOffset, inline: false };
  }

  #placeInline(size: number, inBlocks: number): FlatPlace {
    let offset = this.#take(size);
    if (offset === undefined) {
      if (BLOCK_SIZE - (this.#end % BLOCK_SIZE) < size) this.#startBlock();
      offset = this.#bumpUnaligned(size);
    }
    if (inBlocks > 0) this.#startBlock();
    const dataOffset = this.#end;
    this.#end = alignUp(dataOffset + inBlocks, INODE_SLOT);
    return { offset, dataOffset, inline: true };
  }

  #bump(size: number): number {
    const offset = this.#bumpUnaligned(size);
    this.#end = alignUp(this.#end, INODE_SLOT);
    return offset;
  }

  #bumpUnaligned(size: number): number {
    const offset = this.#end;
    this.#end += size;
    return offset;
  }

  /** Leaves the rest of the current block to small inodes. */
  #startBlock(): void {
    this.#put(this.#end);
    this.#end = alignUp(this.#end, BLOCK_SIZE);
  }

  /** Remembers that the block of `offset` is free from there on. */
  #put(offset: number): void {
    const used = offset % BLOCK_SIZE;
    if (used !== 0) this.#free[Math.floor((BLOCK_SIZE - used) / INODE_SLOT)]!.push(offset - used);
  }

  /** A free end of a block that holds `size` bytes, the smallest that does. */
  #take(size: number): number | undefined {
    if (size >= BLOCK_SIZE) return undefined;
    const slots = Math.ceil(size / INODE_SLOT);
    for (let i = slots; i < SLOTS_PER_BLOCK; i++) {
      const block = this.#free[i]!.shift();
      if (block === undefined) continue;
      const offset = block + BLOCK_SIZE - INODE_SLOT * i;
      this.#put(offset + INODE_SLOT * slots);
      return offset;
    }
    return undefined;
  }
}

/** A queue whose `shift` takes constant time however long it is. */
class Queue {
  readonly #items: number[] = [];
  #head = 0;

  push(item: number): void {
    this.#items.push(item);
  }

  shift(): number | undefined {
    const item = this.#items[this.#head];
    if (item !== undefined) this.#head++;
    return item;
  }
}
