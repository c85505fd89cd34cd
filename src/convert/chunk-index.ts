import { randomInt } from 'node:crypto';
import type { ChunkInput } from '../rafs/blob-builder.js';
import type { Chunk } from '../rafs/tree.js';

/** A chunk that is to be stored, and the files that want it. */
export class PendingChunk {
  /** Digest of its bytes; whoever stores it may put a lasting copy here. */
  digest: Buffer;
  /** What `ChunkIndex` knows it by. */
  readonly number: number;
  readonly #wanted: { chunks: Chunk[]; at: number }[] = [];

  constructor(digest: Buffer, number: number) {
    this.digest = digest;
    this.number = number;
  }

  /** The chunk's place will be written to `chunks[at]`. */
  want(chunks: Chunk[], at: number): void {
    this.#wanted.push({ chunks, at });
  }

  /** Tells everybody where the chunk is. */
  resolve(chunk: Chunk): void {
    for (const { chunks, at } of this.#wanted) chunks[at] = chunk;
  }
}

/** Chunks of other images that are not stored again. */
interface KnownChunks {
  /** The chunk with this digest. DIGEST_MISMATCH if it is said to be of other content than `input`. */
  find(input: ChunkInput): Chunk | undefined;
}

/** Where a chunk was found that need not be stored: in the image itself or in its dictionary. */
export type FoundIn = 'image' | 'dictionary';

/** Slots of an empty table, as a power of two. */
const FIRST_SLOT_BITS = 10;

/**
 * The chunks of an image by content: what is in it already is not stored again. An image may have millions, so they are in a hash
 * table of numbers (open addressing) that asks the chunks themselves for their digests: a fifth of the memory of a `Map`
 * with keys.
 */
export class ChunkIndex {
  readonly #dictionary: KnownChunks | undefined;
  /** Numbers nobody can foresee, so that nobody can make an image whose digests all fall into the same slots. */
  readonly #factors = [oddNumber(), oddNumber()] as const;
  #entries: (Chunk | PendingChunk)[] = [];
  #slotBits = FIRST_SLOT_BITS;
  /** Two numbers for each slot: the hash, and the position in `#entries` plus one; 0: free. */
  #slots = new Uint32Array(2 << FIRST_SLOT_BITS);

  /** `dictionary` is asked for what the image does not have. */
  constructor(dictionary?: KnownChunks) {
    this.#dictionary = dictionary;
  }

  /**
   * Asks for the chunk with the digest of `input`, to be written to `chunks[at]` now or as soon as it has a place. The result
   * tells where it is or, if nobody asked for it before and the caller has to store it, is what to give to `place`. A
   * chunk of the dictionary is in the image from then on. Throws what the dictionary throws.
   */
  claim(input: ChunkInput, chunks: Chunk[], at: number): PendingChunk | FoundIn {
    const { digest } = input;
    const slot = this.#find(digest);
    const known = this.#entryAt(slot);
    if (known instanceof PendingChunk) known.want(chunks, at);
    else if (known) chunks[at] = known;
    if (known) return 'image';
    const shared = this.#dictionary?.find(input);
    if (shared) {
      chunks[at] = shared;
      this.#insert(slot, digest, shared);
      return 'dictionary';
    }
    const pending = new PendingChunk(digest, this.#entries.length);
    pending.want(chunks, at);
    this.#insert(slot, digest, pending);
    return pending;
  }

  /** A chunk of a blob that exists already. */
  add(chunk: Chunk): void {
    const slot = this.#find(chunk.digest);
    const number = this.#slots[slot + 1]!;
    if (number === 0) this.#insert(slot, chunk.digest, chunk);
    else this.#entries[number - 1] = chunk;
  }

  /** The chunk has its place. */
  place(pending: PendingChunk, chunk: Chunk): void {
    this.#entries[pending.number] = chunk;
    pending.resolve(chunk);
  }

  /** Forgets all chunks, when no more are to come: what else is to be done for an image needs the memory. */
  clear(): void {
    this.#entries = [];
    this.#slotBits = FIRST_SLOT_BITS;
    this.#slots = new Uint32Array(2 << FIRST_SLOT_BITS);
  }

  #entryAt(slot: number): Chunk | PendingChunk | undefined {
    const number = this.#slots[slot + 1]!;
    return number === 0 ? undefined : this.#entries[number - 1];
  }

  /** Where `#slots` has the chunk with this digest, or the free slot where it belongs. */
  #find(digest: Buffer): number {
    const hash = this.#hash(digest);
    for (let slot = this.#firstSlot(hash); ; slot = this.#nextSlot(slot)) {
      const number = this.#slots[slot + 1]!;
      if (number === 0) return slot;
      if (this.#slots[slot] === hash && this.#entries[number - 1]!.digest.equals(digest)) return slot;
    }
  }

  #insert(slot: number, digest: Buffer, entry: Chunk | PendingChunk): void {
    this.#slots[slot] = this.#hash(digest);
    this.#slots[slot + 1] = this.#entries.push(entry);
    // Three of four slots are in use at most: searches stay short.
    if (this.#entries.length * 4 > 3 * 2 ** this.#slotBits) this.#grow();
  }

  #grow(): void {
    const before = this.#slots;
    this.#slotBits++;
    this.#slots = new Uint32Array(2 << this.#slotBits);
    for (let from = 0; from < before.length; from += 2) {
      if (before[from + 1] === 0) continue;
      let slot = this.#firstSlot(before[from]!);
      while (this.#slots[slot + 1] !== 0) slot = this.#nextSlot(slot);
      this.#slots[slot] = before[from]!;
      this.#slots[slot + 1] = before[from + 1]!;
    }
  }

  #hash(digest: Buffer): number {
    const [a, b] = this.#factors;
    return (Math.imul(digest.readUInt32LE(0), a) + Math.imul(digest.readUInt32LE(4), b)) >>> 0;
  }

  /** The high bits of the hash: those of a product that depend on all bits of its factors. */
  #firstSlot(hash: number): number {
    return (hash >>> (32 - this.#slotBits)) * 2;
  }

  #nextSlot(slot: number): number {
    return (slot + 2) & (this.#slots.length - 1);
  }
}

function oddNumber(): number {
  return randomInt(2 ** 31) * 2 + 1;
}
