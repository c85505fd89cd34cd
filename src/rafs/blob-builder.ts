import type { Compressor } from '../codec/compressor.js';
import type { DigestAlgorithm } from '../codec/digest.js';
import { BlobRef } from './blob-ref.js';
import type { Chunk } from './tree.js';

export interface ChunkInput {
  digest: Buffer;
  crc: number;
  size: number;
}

export class BlobBuilder {
  readonly ref = new BlobRef();
  constructor(options: { chunkSize: number; compressor: Compressor; digester: DigestAlgorithm }) {
    void options;
  }
  get isEmpty(): boolean {
    return true;
  }
  addChunk(chunk: ChunkInput & { stored: Buffer; compressed: boolean }): { chunk: Chunk; bytes: Buffer } {
    throw new Error(`${chunk.size}`);
  }
  addBatch(batch: { members: readonly ChunkInput[]; stored: Buffer; compressed: boolean }): {
    chunks: Chunk[];
    bytes: Buffer;
  } {
    throw new Error(`${batch.members.length}`);
  }
  /** Also sets `ref`'s id: the hex SHA-256 of all bytes handed out, these included. */
  finish(): { bytes: Buffer; meta: Buffer } {
    throw new Error('unfinished');
  }
}
