import type { RafsBlob } from './bootstrap.js';

export interface BlobChunk {
  index: number;
  decodedOffset: number;
  size: number;
  storedOffset: number;
  /** 0 for a member of a batch. */
  storedSize: number;
  compressed: boolean;
  crc: number | undefined;
  /** Set for a member of a batch: which, where in the decoded batch, and the batch's sizes (raw if they are equal). */
  batch: { index: number; offset: number; storedSize: number; decodedSize: number } | undefined;
}

export class BlobMeta {
  readonly chunkCount: number = 0;
  static parseFile(bytes: Buffer, blob: RafsBlob): BlobMeta {
    throw new Error(`${bytes.length}${blob.id}`);
  }
  static parseStored(bytes: Buffer, blob: RafsBlob): BlobMeta {
    throw new Error(`${bytes.length}${blob.id}`);
  }
  chunk(index: number): BlobChunk {
    throw new Error(`${index}`);
  }
  chunkAtDecoded(offset: number): number {
    throw new Error(`${offset}`);
  }
}
