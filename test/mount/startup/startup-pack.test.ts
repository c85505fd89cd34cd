import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { PassThrough, Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import type { BlobCache } from '../../../src/cache/blob-cache.js';
import type { BlobPieces } from '../../../src/cache/blob-pieces.js';
import { PieceReader } from '../../../src/cache/pieces.js';
import { ociDigest } from '../../../src/codec/digest.js';
import type { ImageSource } from '../../../src/image/source.js';
import type { ImageStore } from '../../../src/mount/image/image-store.js';
import { StartupPack } from '../../../src/mount/startup/startup-pack.js';
import { inSteps, packOf, sampleBytes } from '../../startup/sample-pack.js';

const { file, reference } = packOf([['aa', 0, sampleBytes(100_000)]]);
const descriptor = { mediaType: 'pack', digest: ociDigest(file), size: file.length };

/** A pack that is kept on this machine, and the stream that it comes from. */
function keptPack(): { pack: StartupPack; stream: Readable; warnings: unknown[] } {
  const stream = Readable.from(inSteps(file, 100));
  const warnings: unknown[] = [];
  const pack = new StartupPack({
    layer: { ...reference, descriptor },
    store: { openBlob: async () => stream } as unknown as ImageStore,
    source: { name: 'image' } as ImageSource,
    mayFetch: false,
    tempDir: '/nonexistent',
    onRequest: () => () => {},
    onBytes: () => {},
    onWarning: (warning) => warnings.push(warning),
  });
  return { pack, stream, warnings };
}

it('lets go of a kept pack whose chunks are all here', async () => {
  const { pack, stream, warnings } = keptPack();
  const layout = { id: 'aa', decodedSize: 100_000, chunkCount: 1, chunkAtDecoded: () => 0 };
  const blob = { has: () => true, layout: { ...layout, chunk: () => ({ decodedOffset: 0 }) } };
  expect(await pack.attach([blob as unknown as BlobCache])).toBe(false);
  expect(stream.destroyed).toBe(true);
  await pack.close();
  expect(warnings).toEqual([]);
});

it('has its table from who has no pieces when the stream has given nothing', async () => {
  const bytes = new PassThrough();
  const asked: number[] = [];
  const warnings: unknown[] = [];
  const source = {
    name: 'image',
    pieceBytes: 4 << 20,
    openBlob: async () => bytes,
    async readFewBytes(_: unknown, offset: number, length: number) {
      asked.push(length);
      return file.subarray(offset, offset + length);
    },
  };
  const attached: BlobPieces[] = [];
  const layout = { id: 'aa', decodedSize: 100_000, chunkCount: 1, chunkAtDecoded: () => 0 };
  const blob = {
    has: () => false,
    layout: { ...layout, chunk: () => ({ decodedOffset: 0 }), chunkDigest: () => Buffer.alloc(32) },
    attachPieces: (pieces: BlobPieces) => attached.push(pieces),
  };
  const dir = mkdtempSync(join(tmpdir(), 'rafter-pack-'));
  const pack = new StartupPack({
    layer: { ...reference, descriptor },
    store: {
      openBlob: async () => undefined,
      writeBlob: async (_: unknown, content: Readable) => void (await buffer(content)),
    } as unknown as ImageStore,
    source: source as unknown as ImageSource,
    mayFetch: true,
    tempDir: dir,
    onRequest: () => () => {},
    onBytes: () => {},
    onWarning: (warning) => warnings.push(warning),
  });
  try {
    expect(await pack.attach([blob as unknown as BlobCache])).toBe(true);
    expect(asked).toEqual([reference.tableSize]);
    bytes.end(file);
    await pack.ended;
    const reader = new PieceReader(attached[0]!.shared);
    const target = Buffer.alloc(1000);
    expect(reader.read(50_000, target)).toBe(true);
    expect(target.equals(sampleBytes(100_000).subarray(50_000, 51_000))).toBe(true);
    expect(warnings).toEqual([]);
  } finally {
    await pack.close();
    rmSync(dir, { recursive: true });
  }
});

it('lets go of a kept pack that no mount has come to use', async () => {
  const { pack, stream } = keptPack();
  await pack.close();
  expect(stream.destroyed).toBe(true);
});
