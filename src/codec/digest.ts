import { createHash, hash } from 'node:crypto';
import { blake3, nativeCrc32c } from './natives.js';

/** The algorithms that RAFS knows for chunk digests. */
export type DigestAlgorithm = 'blake3' | 'sha256';

/** Bytes of a chunk digest, whichever algorithm. */
export const DIGEST_SIZE = 32;

/** SHA-256 of `data`, 32 bytes. */
export function sha256(data: Uint8Array): Buffer {
  return hash('sha256', data, 'buffer');
}

/** SHA-256 of `data` as an OCI digest: `sha256:` and 64 hex digits. */
export function ociDigest(data: Uint8Array): string {
  return `sha256:${hash('sha256', data, 'hex')}`;
}

/** A running SHA-256 for data that arrives in pieces. */
export function sha256Stream(): { update(data: Uint8Array): void; hex(): string } {
  const running = createHash('sha256');
  return { update: (data) => void running.update(data), hex: () => running.digest('hex') };
}

/** Digest of a chunk's raw bytes, 32 bytes. */
export function chunkDigest(algorithm: DigestAlgorithm, data: Buffer): Buffer {
  return algorithm === 'blake3' ? blake3(data) : sha256(data);
}

/** CRC-32C (Castagnoli) of `data`, as an unsigned 32-bit number. */
export function crc32c(data: Buffer): number {
  return nativeCrc32c(data) >>> 0;
}
