import { chunkDigest, DIGEST_SIZE } from '../codec/digest.js';
import { ChunkBuffers } from '../convert/chunk-buffers.js';
import { cutChunks } from '../convert/chunker.js';
import type { FileInode } from '../rafs/tree.js';
import type { ChunkForm } from './compare.js';

/** What there is of files without content. */
export const NO_CONTENT = Buffer.alloc(0);
const DIGESTS_PER_SLAB = 2048;

/** Digests of the chunks into which a file's `size` bytes are cut, one behind the other. */
export async function digestsOf(
  body: AsyncIterable<Buffer>,
  size: number,
  { chunkSize, digester }: ChunkForm,
): Promise<Buffer> {
  const buffers = new ChunkBuffers(chunkSize);
  const digests: Buffer[] = [];
  for await (const piece of cutChunks(body, size, { chunkSize, buffers })) {
    digests.push(chunkDigest(digester, piece));
    buffers.give(piece);
  }
  return Buffer.concat(digests);
}

/** Digests of the chunks of many files, without an object for each. */
export class ContentDigests {
  readonly #chunkSize: number;
  readonly #slabs: Buffer[] = [];
  /** Number of each file's first digest. */
  readonly #first = new Map<FileInode, number>();
  #count = 0;

  constructor(chunkSize: number) {
    this.#chunkSize = chunkSize;
  }

  /** Keeps a copy of the digests of a file's chunks. */
  add(file: FileInode, digests: Buffer): void {
    if (digests.length === 0) return;
    this.#first.set(file, this.#count);
    for (let at = 0; at < digests.length; at += DIGEST_SIZE) {
      if (this.#count % DIGESTS_PER_SLAB === 0)
        this.#slabs.push(Buffer.allocUnsafeSlow(DIGESTS_PER_SLAB * DIGEST_SIZE));
      digests.copy(
        this.#slabs.at(-1)!,
        (this.#count++ % DIGESTS_PER_SLAB) * DIGEST_SIZE,
        at,
        at + DIGEST_SIZE,
      );
    }
  }

  /** The digests of a file's chunks one behind the other, none if it was not added. */
  of(file: FileInode): Buffer {
    const first = this.#first.get(file);
    if (first === undefined) return NO_CONTENT;
    return Buffer.concat(
      Array.from({ length: Math.ceil(file.size / this.#chunkSize) }, (_, k) => {
        const slab = this.#slabs[Math.floor((first + k) / DIGESTS_PER_SLAB)]!;
        const at = ((first + k) % DIGESTS_PER_SLAB) * DIGEST_SIZE;
        return slab.subarray(at, at + DIGEST_SIZE);
      }),
    );
  }
}
