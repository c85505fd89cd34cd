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

/** The chunks of an image by content: what is in it already is not stored again. Keeps no more than a key for each. */
export class ChunkIndex {
  readonly #chunks = new Map<string, Chunk | PendingChunk>();

  /**
   * Asks for the chunk with this digest, to be written to `chunks[at]` now or as soon as it has a place. The result is what
   * to give to `place` if nobody asked for it before and the caller has to store it.
   */
  claim(digest: Buffer, chunks: Chunk[], at: number): PendingChunk | undefined {
    const key = digest.toString('latin1');
    const known = this.#chunks.get(key);
    if (known instanceof PendingChunk) known.want(chunks, at);
    else if (known) chunks[at] = known;
    if (known) return undefined;
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
