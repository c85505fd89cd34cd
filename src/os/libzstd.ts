import { koffi } from './libc.js';
import { optionalLibrary } from './optional-library.js';

/** The decoder of the system's libzstd, which other threads can work with. */
export interface LibZstd {
  /**
   * Decodes the frames `stored` into `target` on one of libuv's threads; the result is how many bytes came out. Nobody may change either
   * until this settles. Rejects if they are damaged, or decode to more.
   */
  decompressAside(target: Buffer, stored: Buffer): Promise<number>;
}

/** libzstd as distributions have it, since package managers need it; undefined where there is none. */
export const libzstd = optionalLibrary(bind);

function bind(): LibZstd {
  const library = koffi().load('libzstd.so.1');
  const decompress = library.func('size_t ZSTD_decompress(void *, size_t, void *, size_t)');
  const isError = library.func('unsigned int ZSTD_isError(size_t)');
  const errorName = library.func('const char *ZSTD_getErrorName(size_t)');
  return {
    decompressAside: (target, stored) =>
      new Promise((resolve, reject) => {
        decompress.async(
          target,
          target.length,
          stored,
          stored.length,
          (error: unknown, result: number | bigint) => {
            if (error !== null) reject(error);
            else if (isError(result) !== 0)
              reject(new Error(`${errorName(result)} in ${stored.length} bytes`));
            // Both are still needed here, so that they were kept until now.
            else resolve(Math.min(Number(result), target.length));
          },
        );
      }),
  };
}
