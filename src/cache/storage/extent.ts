import type { BlobLayout } from '../layout.js';

/** How much of a blob an image uses. Looks at all chunks when it is asked first, and remembers 4 bytes of each. */
export class Extent {
  readonly #layout: BlobLayout;
  #sizes: Uint32Array | undefined;

  constructor(layout: BlobLayout) {
    this.#layout = layout;
  }

  /** Decoded bytes of the chunks that the image uses, and of those of them that are `here`. */
  measure(here: (index: number) => boolean): { bytes: number; localBytes: number } {
    this.#sizes ??= sizesOf(this.#layout);
    let bytes = 0;
    let localBytes = 0;
    for (const [index, size] of this.#sizes.entries()) {
      bytes += size;
      if (size > 0 && here(index)) localBytes += size;
    }
    return { bytes, localBytes };
  }
}

/** Decoded size of each chunk; 0 for one that the image does not use. */
function sizesOf(layout: BlobLayout): Uint32Array {
  return Uint32Array.from({ length: layout.chunkCount }, (_, index) =>
    layout.chunkDigest(index) === undefined ? 0 : layout.chunk(index).size,
  );
}
