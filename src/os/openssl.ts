import { koffi } from './libc.js';
import { optionalLibrary } from './optional-library.js';

/** A digest that OpenSSL is working on (EVP_MD_CTX). */
type Context = unknown;

/** What OpenSSL is asked for here: digests, on another thread. */
export interface Openssl {
  begin(algorithm: 'sha256' | 'sha512'): Context;
  /** Hashes `bytes` on one of libuv's threads. Nobody may change them or use `context` until this settles. */
  updateAside(context: Context, bytes: Buffer): Promise<void>;
  /** The digest; `context` is only to be freed then. */
  finish(context: Context, size: number): Buffer;
  free(context: Context): void;
}

/**
 * The OpenSSL of this process, whose functions Node.js exports for addons (Node.js documentation, "C++ addons"), or has from the
 * system's library; undefined where it does neither.
 */
export const openssl = optionalLibrary(bind);

function bind(): Openssl {
  const process = koffi().load(null);
  const create = process.func('void *EVP_MD_CTX_new()');
  const start = process.func('int EVP_DigestInit_ex(void *, void *, void *)');
  const update = process.func('int EVP_DigestUpdate(void *, void *, size_t)');
  const final = process.func('int EVP_DigestFinal_ex(void *, void *, void *)');
  const free = process.func('void EVP_MD_CTX_free(void *)');
  const algorithms = {
    sha256: process.func('void *EVP_sha256()'),
    sha512: process.func('void *EVP_sha512()'),
  };
  const check = (result: number) => {
    if (result !== 1) throw new Error('OpenSSL does not hash');
  };
  return {
    begin(algorithm) {
      const context = create();
      check(start(context, algorithms[algorithm](), null));
      return context;
    },
    updateAside: (context, bytes) =>
      new Promise((resolve, reject) => {
        update.async(context, bytes, bytes.length, (error: unknown, result: number) => {
          if (error === null && result === 1) resolve();
          else reject(error ?? new Error('OpenSSL does not hash'));
        });
      }),
    finish(context, size) {
      const digest = Buffer.alloc(size);
      check(final(context, digest, null));
      return digest;
    },
    free,
  };
}
