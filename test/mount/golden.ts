import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { decompress } from '../../src/codec/compressor.js';
import type { BlobReader } from '../../src/mount/drivers/image-view.js';
import { BlobMeta } from '../../src/rafs/blob-meta.js';
import { type Bootstrap, parseBootstrap, type RafsBlob } from '../../src/rafs/bootstrap.js';

/** Images that the real Nydus tools made, and what they hold (fixtures/golden/README.md). */
export const golden = resolve(import.meta.dirname, '../../fixtures/golden');

export function goldenBootstrap(name: string): Bootstrap {
  return parseBootstrap(readFileSync(join(golden, `v6/${name}.boot`)), name);
}

let blobFiles: Map<string, string> | undefined;

/** The blob's file: its id is the digest of it. */
export function goldenBlobFile(id: string): string {
  blobFiles ??= new Map(
    readdirSync(join(golden, 'v6'))
      .filter((name) => name.endsWith('.blob'))
      .map((name) => join(golden, 'v6', name))
      .map((path) => [createHash('sha256').update(readFileSync(path)).digest('hex'), path]),
  );
  return blobFiles.get(id)!;
}

/** A blob decoded as a whole in memory: what a cache that has everything would serve. */
export function decodedBlob(blob: RafsBlob): BlobReader & { bytes: Buffer; reads: [number, number][] } {
  const file = readFileSync(goldenBlobFile(blob.id));
  const { offset, compressedSize } = blob.ci;
  const meta = BlobMeta.parseStored(file.subarray(offset, offset + compressedSize + 4096), blob);
  const bytes = Buffer.alloc(blob.uncompressedSize);
  for (let i = 0; i < meta.chunkCount; i++) {
    const { decodedOffset, storedOffset, storedSize, size, compressed, batch } = meta.chunk(i);
    const stored = file.subarray(storedOffset, storedOffset + (batch?.storedSize ?? storedSize));
    const unit = compressed ? decompress(blob.compressor, stored, batch?.decodedSize ?? size) : stored;
    const at = batch?.offset ?? 0;
    unit.copy(bytes, decodedOffset, at, at + size);
  }
  const reads: [number, number][] = [];
  return {
    bytes,
    reads,
    async read(from, target) {
      reads.push([from, target.length]);
      bytes.copy(target, 0, from);
      return 'local';
    },
  };
}
