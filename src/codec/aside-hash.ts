import { createHash } from 'node:crypto';
import { openssl } from '../os/openssl.js';

/** A hash that other threads work on, so that this one can go on. */
export interface AsideHash {
  /** Hashes `bytes` after all earlier ones. They stay as they are until this settles. */
  update(bytes: Buffer): Promise<void>;
  /** The digest in hex of all that was given; no more can be. */
  digest(): Promise<string>;
  /** Lets go of it, whether it was asked for its digest or not. Bytes that are being hashed stay as they are until their `update` settles. */
  close(): void;
}

const DIGEST_SIZES = { sha256: 32, sha512: 64 };

/** A new hash. Where OpenSSL cannot be called on another thread, the calling one does the work. */
export function createAsideHash(algorithm: 'sha256' | 'sha512'): AsideHash {
  const ssl = openssl();
  if (ssl === undefined) return hashHere(algorithm);
  const context = ssl.begin(algorithm);
  let last: Promise<unknown> = Promise.resolve();
  let isClosed = false;
  const next = <T>(work: () => T | Promise<T>): Promise<T> => {
    const result = last.then(() => {
      if (isClosed) throw new Error('a hash that was let go of was used');
      return work();
    });
    last = result;
    // Whoever asked hears of it.
    result.catch(() => {});
    return result;
  };
  return {
    update: (bytes) => next(() => ssl.updateAside(context, bytes)),
    digest: () => next(() => ssl.finish(context, DIGEST_SIZES[algorithm]).toString('hex')),
    close() {
      if (isClosed) return;
      isClosed = true;
      const free = () => ssl.free(context);
      last.then(free, free);
    },
  };
}

function hashHere(algorithm: string): AsideHash {
  const hash = createHash(algorithm);
  return {
    async update(bytes) {
      hash.update(bytes);
    },
    digest: async () => hash.digest('hex'),
    close() {},
  };
}
