import { RafterError } from '../errors.js';
import type { BlobEntry } from './blob-entry.js';
import { BlobFeature, hasFeature } from './blob-features.js';

/** Forms of blobs whose data is not read, and why. */
const UNSUPPORTED_FORMS: readonly (readonly [feature: number, is: string, why: string])[] = [
  [
    BlobFeature.TARFS,
    'is an uncompressed tar (tarfs mode)',
    'such an image has no digests of its chunks, so nothing of it could be verified when it is read',
  ],
  [
    BlobFeature.EXTERNAL,
    'is in an external storage backend (a model artifact)',
    'such an image has no digests of its chunks, and the registry does not have its data',
  ],
];

/** Throws UNSUPPORTED, saying why, for a blob whose features say that its data cannot be read. */
export function requireReadable(blob: BlobEntry): void {
  for (const [feature, is, why] of UNSUPPORTED_FORMS) {
    if (hasFeature(blob.features, feature))
      throw new RafterError('UNSUPPORTED', `blob ${blob.id} ${is}: ${why}`);
  }
}
