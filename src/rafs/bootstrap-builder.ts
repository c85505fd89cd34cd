import type { Compressor } from '../codec/compressor.js';
import type { DigestAlgorithm } from '../codec/digest.js';
import type { BlobRef, TreeNode } from './tree.js';

export interface BootstrapOptions {
  root: TreeNode;
  /** In table order; blobs that no chunk refers to are left out. */
  blobs: readonly BlobRef[];
  chunkSize: number;
  compressor: Compressor;
  digester: DigestAlgorithm;
  /** Absolute paths, most important first. */
  prefetch?: readonly Buffer[];
}

export function buildBootstrap(options: BootstrapOptions): Buffer {
  throw new Error(`${options.chunkSize}`);
}
