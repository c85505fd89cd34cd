import type { Compressor } from '../codec/compressor.js';
import type { DigestAlgorithm } from '../codec/digest.js';

/** Algorithm numbers of RAFS blob table entries and compression context headers: position = number. */
const COMPRESSORS: readonly Compressor[] = ['none', 'lz4_block', 'gzip', 'zstd'];
const DIGESTERS: readonly DigestAlgorithm[] = ['blake3', 'sha256'];

/** The number that stands for `compressor` on disk. */
export function compressorId(compressor: Compressor): number {
  return COMPRESSORS.indexOf(compressor);
}

/** The compressor with number `id`, or undefined if there is none. */
export function compressorOf(id: number): Compressor | undefined {
  return COMPRESSORS[id];
}

/** The number that stands for `digester` on disk. */
export function digesterId(digester: DigestAlgorithm): number {
  return DIGESTERS.indexOf(digester);
}

/** The digest algorithm with number `id`, or undefined if there is none. */
export function digesterOf(id: number): DigestAlgorithm | undefined {
  return DIGESTERS[id];
}
