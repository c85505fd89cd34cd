/** Bytes of a digest that are the key: chance makes two of 2^48 alike once in millions of full tables, and that costs a read. */
const KEY_BYTES = 6;
/** Decoded offsets must be below, to share a number with the blob's number. */
const MAX_OFFSET = 2 ** 40;
const MAX_BLOBS = 2 ** 13;
/** About 70 bytes each: 7 MB at most, for 100 GB of chunks of 1 MiB. */
const MAX_CHUNKS = 100_000;

/** Where the bytes of a chunk are said to be: in which blob of the cache, and where in its data file. */
export interface Donor {
  stem: string;
  offset: number;
}

/**
 * Which blobs of a cache have which chunks, by digest. Only a hint: what it names may have gone meanwhile, so whoever reads
 * it verifies it. The oldest entries go when there are too many.
 */
export class Donors {
  /** Number of the blob times `MAX_OFFSET`, and offset in it. */
  readonly #places = new Map<number, number>();
  readonly #stems: string[] = [];
  readonly #numbers = new Map<string, number>();

  /** Chunk with `digest` is at `offset` in the data of blob `stem`. */
  add(stem: string, offset: number, digest: Buffer): void {
    const number = this.#numberOf(stem);
    if (number === undefined || offset >= MAX_OFFSET) return;
    const key = keyOf(digest);
    this.#places.delete(key);
    this.#places.set(key, number * MAX_OFFSET + offset);
    if (this.#places.size <= MAX_CHUNKS) return;
    const [oldest] = this.#places.keys();
    this.#places.delete(oldest!);
  }

  /** Who has a chunk, besides blob `except`. */
  find(digest: Buffer, except: string): Donor | undefined {
    const place = this.#places.get(keyOf(digest));
    if (place === undefined) return undefined;
    const stem = this.#stems[Math.floor(place / MAX_OFFSET)]!;
    return stem === except ? undefined : { stem, offset: place % MAX_OFFSET };
  }

  /** A chunk was not where it should be. */
  forget(digest: Buffer): void {
    this.#places.delete(keyOf(digest));
  }

  #numberOf(stem: string): number | undefined {
    const known = this.#numbers.get(stem);
    if (known !== undefined) return known;
    if (this.#stems.length >= MAX_BLOBS) return undefined;
    this.#numbers.set(stem, this.#stems.length);
    return this.#stems.push(stem) - 1;
  }
}

function keyOf(digest: Buffer): number {
  return digest.readUIntLE(0, KEY_BYTES);
}
