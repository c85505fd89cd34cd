import { createHash } from 'node:crypto';
import { RafterError } from '../errors.js';
import type { Digest } from './descriptor.js';
import type { CreateBlobOptions } from './target.js';

/** Size and SHA-256 of a blob that is being written. */
export interface BlobDigest {
  update(bytes: Buffer): void;
  /**
   * What was written. With `expected`, DIGEST_MISMATCH if that is not its digest; with `digestGiven` it is taken as it is.
   */
  finish(expected: Digest | undefined): { digest: Digest; size: number };
}

/** Begins with an empty blob; with `digestGiven` nothing is hashed. */
export function blobDigest({ digestGiven = false }: CreateBlobOptions = {}): BlobDigest {
  const hash = digestGiven ? undefined : createHash('sha256');
  let size = 0;
  return {
    update(bytes) {
      hash?.update(bytes);
      size += bytes.length;
    },
    finish(expected) {
      const digest = hash ? `sha256:${hash.digest('hex')}` : expected;
      if (digest === undefined) throw new Error('a blob whose digest is given was committed without it');
      if (expected !== undefined && expected !== digest) {
        throw new RafterError('DIGEST_MISMATCH', `a blob has digest ${digest}, expected ${expected}`);
      }
      return { digest, size };
    },
  };
}
