import type { ChunkInput } from '../rafs/blob-builder.js';
import type { Chunk } from '../rafs/tree.js';

/** A chunk that is to be stored, and the files that want it. */
export class PendingChunk {
  /** What `ChunkIndex` knows it by. */
  readonly key: string;
  readonly #wanted: { chunks: Chunk[]; at: number }[] = [];

  constructor(key: string) {
    this.key = key;
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

/** The chunks of an image by content: what is in it already is not stored again. Keeps no more than a key for each. */
export class ChunkIndex {
  readonly #chunks = new Map<string, Chunk | PendingChunk>();
  readonly #dictionary: KnownChunks | undefined;

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
    const key = input.digest.toString('latin1');
    const known = this.#chunks.get(key);
    if (known instanceof PendingChunk) known.want(chunks, at);
    else if (known) chunks[at] = known;
    if (known) return 'image';
    const shared = this.#dictionary?.find(input);
    if (shared) {
      chunks[at] = shared;
      this.#chunks.set(key, shared);
      return 'dictionary';
    }
    const pending = new PendingChunk(key);
    pending.want(chunks, at);
    this.#chunks.set(key, pending);
    return pending;
  }

  /** A chunk of a blob that exists already. */
  add(chunk: Chunk): void {
    this.#chunks.set(chunk.digest.toString('latin1'), chunk);
  }

  /** The chunk has its place. */
  place(pending: PendingChunk, chunk: Chunk): void {
    this.#chunks.set(pending.key, chunk);
    pending.resolve(chunk);
  }
}
