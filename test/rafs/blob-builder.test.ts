import { describe, expect, test } from 'vitest';
import { compress, decompress } from '../../src/codec/compressor.js';
import { chunkDigest, crc32c, sha256 } from '../../src/codec/digest.js';
import { BlobBuilder } from '../../src/rafs/blob-builder.js';
import type { BlobEntry } from '../../src/rafs/blob-entry.js';
import { BlobMeta } from '../../src/rafs/blob-meta.js';
import { BlobRef } from '../../src/rafs/blob-ref.js';
import { findToc, TOC_TAIL_SIZE } from '../../src/rafs/toc.js';

const CHUNK_SIZE = 1 << 16;

function input(raw: Buffer) {
  return { digest: chunkDigest('blake3', raw), crc: crc32c(raw), size: raw.length };
}

function newBuilder(): BlobBuilder {
  return new BlobBuilder({ chunkSize: CHUNK_SIZE, compressor: 'zstd', digester: 'blake3' });
}

/** A blob of a compressed chunk, a raw one, a compressed batch and a raw batch. */
function example() {
  const builder = newBuilder();
  const text = Buffer.alloc(50_000, 'text ');
  const raw = Buffer.from('incompressible');
  const small = [Buffer.alloc(5000, 'a'), Buffer.alloc(3, 'b')];
  const odd = [Buffer.from('1'), Buffer.from('23')];
  const parts: Buffer[] = [];
  const add = <T extends { bytes: Buffer }>(placed: T): T => {
    parts.push(placed.bytes);
    return placed;
  };
  const one = add(
    builder.addChunk({ ...input(text), stored: compress('zstd', text), compressed: true }),
  ).chunk;
  const packed = compress('zstd', Buffer.concat(small));
  const batch = add(builder.addBatch({ members: small.map(input), stored: packed, compressed: true })).chunks;
  const two = add(builder.addChunk({ ...input(raw), stored: raw, compressed: false })).chunk;
  const rawBatch = add(
    builder.addBatch({ members: odd.map(input), stored: Buffer.concat(odd), compressed: false }),
  ).chunks;
  const { bytes, meta } = builder.finish();
  const file = Buffer.concat([...parts, bytes]);
  const entry: BlobEntry = { ...builder.ref.fields, index: 0 };
  return {
    file,
    meta,
    entry,
    chunks: [one, ...batch, two, ...rawBatch],
    contents: [text, ...small, raw, ...odd],
  };
}

describe('a blob with lone chunks and batches', () => {
  const { file, meta, entry, chunks, contents } = example();

  test('is described by its entry', () => {
    expect(entry).toMatchObject({
      id: sha256(file).toString('hex'),
      chunkSize: CHUNK_SIZE,
      chunkCount: 6,
      compressor: 'zstd',
      digester: 'blake3',
      features: 0x700000a5,
      compressedSize: file.length,
      uncompressedSize: 53248 + 8192 + 4096 + 4096 + 4096 + 4096,
      tocSize: 4 * 128 + 512,
    });
    expect(entry.tocDigest).toEqual(sha256(file.subarray(-entry.tocSize)));
    expect(entry.ci.uncompressedSize).toBe(6 * 24 + 2 * 40);
  });

  test('its table of contents names every section with its digest', () => {
    const toc = findToc(file.subarray(-TOC_TAIL_SIZE), file.length, 'blob')!;
    const [data, infos, header, digests] = toc;
    expect(toc.map(({ name }) => name)).toEqual([
      'image.blob',
      'blob.meta',
      'blob.meta.header',
      'blob.digest',
    ]);
    const bytesOf = (section: typeof data) =>
      file.subarray(section!.offset, section!.offset + section!.storedSize);
    expect(data).toMatchObject({
      offset: 0,
      storedSize: entry.ci.offset - 512,
      size: entry.uncompressedSize,
    });
    // By the habit of Nydus, the data's digest includes the tar header behind it.
    expect(data!.digest).toEqual(sha256(file.subarray(0, entry.ci.offset)));
    const array = decompress(infos!.compressor, bytesOf(infos), infos!.size);
    expect(infos!.digest).toEqual(sha256(array));
    expect(header!.digest).toEqual(sha256(bytesOf(header)));
    expect(digests!.digest).toEqual(sha256(bytesOf(digests)));
    expect(bytesOf(digests).equals(Buffer.concat(contents.map((raw) => chunkDigest('blake3', raw))))).toBe(
      true,
    );
    expect(meta.length).toBe(8192);
    expect(meta.subarray(0, array.length).equals(array)).toBe(true);
    expect(meta.subarray(4096).equals(bytesOf(header))).toBe(true);
  });

  test('its chunks are found again, each by its own rules', () => {
    const parsed = BlobMeta.parseFile(meta, entry);
    contents.forEach((raw, i) => {
      const chunk = parsed.chunk(i);
      const unit = chunk.batch ?? { storedSize: chunk.storedSize, decodedSize: chunk.size, offset: 0 };
      const stored = file.subarray(chunk.storedOffset, chunk.storedOffset + unit.storedSize);
      const decoded = decompress(chunk.compressed ? 'zstd' : 'none', stored, unit.decodedSize);
      expect(decoded.subarray(unit.offset, unit.offset + chunk.size).equals(raw)).toBe(true);
      expect(chunk.decodedOffset).toBe(chunks[i]!.decodedOffset);
      expect(chunk.crc).toBe(chunk.batch ? undefined : crc32c(raw));
    });
    expect(contents.map((_, i) => parsed.chunk(i).batch?.index)).toEqual([undefined, 0, 0, undefined, 1, 1]);
    expect(contents.map((_, i) => parsed.chunk(i).compressed)).toEqual([
      true,
      true,
      true,
      false,
      false,
      false,
    ]);
  });

  test('the chunk table lists members of batches without place and flags, as Nydus does', () => {
    expect(chunks.map(({ flags }) => flags)).toEqual([0x11, 0x10, 0x10, 0x10, 0x10, 0x10]);
    expect(chunks.map(({ storedSize }) => storedSize)).toEqual([expect.any(Number), 0, 0, 14, 0, 0]);
    expect(chunks[1]!.storedOffset).toBe(0);
    expect(chunks[3]!.storedOffset).toBeGreaterThan(0);
  });
});

test('a CRC of 0 goes without the flag, in the blob and in the chunk table', () => {
  const builder = newBuilder();
  const stored = Buffer.from('x');
  const { chunk } = builder.addChunk({ ...input(stored), crc: 0, stored, compressed: false });
  expect(chunk.flags).toBe(0);
  const { meta } = builder.finish();
  expect(BlobMeta.parseFile(meta, { ...builder.ref.fields, index: 0 }).chunk(0).crc).toBeUndefined();
});

test('an array that does not shrink is stored raw', () => {
  const builder = newBuilder();
  const stored = Buffer.from('x');
  builder.addChunk({ ...input(stored), stored, compressed: false });
  builder.finish();
  expect(builder.ref.fields.ci).toMatchObject({
    compressor: 'none',
    compressedSize: 24,
    uncompressedSize: 24,
  });
});

describe('what cannot be stored', () => {
  test('a chunk of 16 MiB stored raw: the stored size has 24 bits', () => {
    const builder = new BlobBuilder({ chunkSize: 1 << 24, compressor: 'none', digester: 'blake3' });
    const stored = Buffer.alloc(1 << 24);
    const add = (size: number) => () =>
      builder.addChunk({
        digest: Buffer.alloc(32),
        crc: 1,
        size,
        stored: stored.subarray(0, size),
        compressed: false,
      });
    expect(add(1 << 24)).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
    expect(add((1 << 24) - 1)).not.toThrow();
  });

  test('a batch above 16 MiB', () => {
    const builder = new BlobBuilder({ chunkSize: 1 << 24, compressor: 'zstd', digester: 'blake3' });
    const half = { digest: Buffer.alloc(32), crc: 1, size: 1 << 23 };
    const tiny = { digest: Buffer.alloc(32), crc: 1, size: 1 };
    const add = (members: (typeof half)[]) => () =>
      builder.addBatch({ members, stored: Buffer.from('z'), compressed: true });
    expect(add([half, half, tiny])).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
    expect(add([half, half])).not.toThrow();
  });

  const raw = Buffer.from('abc');
  test.each<[string, (builder: BlobBuilder) => unknown]>([
    ['an empty blob', (b) => b.finish()],
    ['an empty chunk', (b) => b.addChunk({ ...input(raw), size: 0, stored: raw, compressed: true })],
    [
      'a chunk above chunkSize',
      (b) => b.addChunk({ ...input(raw), size: CHUNK_SIZE + 1, stored: raw, compressed: true }),
    ],
    [
      'raw bytes of another length',
      (b) => b.addChunk({ ...input(raw), size: 4, stored: raw, compressed: false }),
    ],
    [
      'a compressed batch that did not shrink',
      (b) => b.addBatch({ members: [input(raw)], stored: raw, compressed: true }),
    ],
    [
      'a raw batch of another length',
      (b) => b.addBatch({ members: [input(raw)], stored: Buffer.from('ab'), compressed: false }),
    ],
    [
      'a whole chunk in a batch',
      (b) => b.addBatch({ members: [{ ...input(raw), size: CHUNK_SIZE }], stored: raw, compressed: true }),
    ],
  ])('%s is a mistake of the program', (_, act) => {
    expect(() => act(newBuilder())).toThrow(expect.objectContaining({ name: 'Error' }));
  });
});

test('a blob ref knows its fields only when finished, and never changes its id', () => {
  const ref = new BlobRef();
  expect(() => ref.fields).toThrow(/not finished/);
  ref.setId('ab');
  ref.setId('ab');
  expect(() => ref.setId('cd')).toThrow(/cannot become/);
  expect(() => new BlobRef().setId('../x')).toThrow(/cannot be a blob id/);
  expect(() => new BlobRef().setId('a'.repeat(65))).toThrow(/cannot be a blob id/);
});
