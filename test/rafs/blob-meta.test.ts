import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { extract } from 'tar-stream';
import { describe, expect, test } from 'vitest';
import { storedDataSize } from '../../src/rafs/blob-check.js';
import { BlobMeta } from '../../src/rafs/blob-meta.js';
import { parseBootstrap } from '../../src/rafs/bootstrap.js';
import { encodeChunkInfoV1 } from '../../src/rafs/chunk-info-v1.js';
import { ChunkInfoFlag } from '../../src/rafs/chunk-info-v2.js';
import { golden } from './golden.js';
import { metaFile, V1, v2 } from './meta-file.js';

describe('chunk infos that cannot be are refused, naming the chunk', () => {
  const member = { flags: ChunkInfoFlag.BATCH | ChunkInfoFlag.COMPRESSED, storedSize: 0, size: 100 };
  const batch = { storedSize: 50, decodedSize: 200 };
  test.each<[string, ReturnType<typeof v2>, RegExp]>([
    [
      'overlap in decoded space',
      v2([{}, { decodedOffset: 4096 }]),
      /chunk info 1: decoded offset 4096 is below 5000/,
    ],
    ['descending', v2([{ decodedOffset: 8192 }, {}]), /chunk info 1: decoded offset 0/],
    [
      'behind the decoded blob',
      v2([{ decodedOffset: 0xf000 }]),
      /chunk info 0: ends at 66440 in a decoded blob of 65536/,
    ],
    ['longer than a chunk', v2([{ size: 65537 }]), /65537 bytes in a blob of 65536-byte chunks/],
    ['behind the stored data', v2([{ storedOffset: 9901 }]), /ends at 10001 in stored data of 10000/],
    ['without stored bytes', v2([{ storedSize: 0 }]), /no stored bytes/],
    ['raw with another size', v2([{ flags: 0x10 }]), /stored raw, but as 100 bytes instead of 5000/],
    ['a CRC of 0', v2([{ dataLow: 0 }]), /CRC of 0/],
    ['a batch that is not there', v2([{ ...member, dataHigh: 1 }], [batch]), /batch 1 does not exist/],
    [
      'a member outside its batch',
      v2([{ ...member, dataLow: 101 }], [batch]),
      /batch 0: chunk 0 at 101 to 201/,
    ],
    [
      'a batch that grew',
      v2([member], [{ storedSize: 201, decodedSize: 200 }]),
      /batch 0: 201 stored bytes for 200/,
    ],
    ['an empty batch', v2([member], [{ storedSize: 0, decodedSize: 200 }]), /batch 0: 0 stored bytes/],
    [
      'a batch behind the stored data',
      v2([{ ...member, storedOffset: 9951 }], [batch]),
      /ends at 10001 in stored data/,
    ],
  ])('%s', (_, { bytes, blob }, message) => {
    expect(() => BlobMeta.parseFile(bytes, blob)).toThrow(
      expect.objectContaining({ code: 'MALFORMED', message: expect.stringMatching(message) }),
    );
  });

  test('a batch above 16 MiB, and one of exactly 16 MiB', () => {
    const parse = (decodedSize: number) => () => {
      const { bytes, blob } = v2([member], [{ storedSize: 50, decodedSize }]);
      return BlobMeta.parseFile(bytes, blob);
    };
    expect(parse(0x1000001)).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
    expect(parse(0x1000000)).not.toThrow();
  });

  test.each<[string, number, RegExp]>([
    [
      'in a gzip slice of a blob without slices',
      ChunkInfoFlag.ZRAN,
      /in a gzip slice, but the blob has none/,
    ],
    ['encrypted, without a key', ChunkInfoFlag.ENCRYPTED, /encrypted, but the bootstrap has no key/],
  ])('%s', (_, flag, message) => {
    const { bytes, blob } = v2([{ flags: flag | 1 }]);
    expect(() => BlobMeta.parseFile(bytes, blob)).toThrow(
      expect.objectContaining({ code: 'MALFORMED', message: expect.stringMatching(message) }),
    );
  });
});

describe('the header must agree with the blob table', () => {
  test.each<[string, number, RegExp]>([
    ['magic', 0, /header magic/],
    ['compressor', 8, /ci_compressor/],
    ['entries', 12, /ci_entries/],
    ['offset', 16, /ci_offset/],
    ['compressed size', 24, /ci_compressed_size/],
    ['decoded size', 32, /ci_uncompressed_size/],
    ['magic at the end', 4092, /magic2/],
  ])('%s', (_, offset, message) => {
    const { bytes, blob } = v2([{}]);
    bytes.writeUInt32LE(12345, 4096 + offset);
    expect(() => BlobMeta.parseFile(bytes, blob)).toThrow(message);
  });

  test('the place of the batch contexts', () => {
    const { bytes, blob } = v2([{}], [{ storedSize: 1, decodedSize: 1 }]);
    bytes.writeUInt32LE(0, 4096 + 40);
    expect(() => BlobMeta.parseFile(bytes, blob)).toThrow(/contexts offset/);
  });

  test('features and reserved bytes are not compared', () => {
    const { bytes, blob } = v2([{}]);
    bytes.fill(0xff, 4096 + 4, 4096 + 8);
    bytes.fill(0xff, 4096 + 60, 4096 + 4092);
    expect(BlobMeta.parseFile(bytes, blob).chunkCount).toBe(1);
  });

  test('bytes of another length', () => {
    const { bytes, blob } = v2([{}]);
    expect(() => BlobMeta.parseFile(bytes.subarray(1), blob)).toThrow(/8191, not 8192/);
    expect(() => BlobMeta.parseStored(bytes, blob)).toThrow(/8192 bytes/);
  });
});

test('chunkAtDecoded: inside a chunk, in the gap behind it, behind the last', () => {
  const { bytes, blob } = v2([{}, { decodedOffset: 12288, size: 4096 }]);
  const meta = BlobMeta.parseFile(bytes, blob);
  expect([0, 4999, 5000, 12287, 12288, 16383, 16384].map((offset) => meta.chunkAtDecoded(offset))).toEqual([
    0, 0, 1, 1, 1, 1, 2,
  ]);
  expect(() => meta.chunk(2)).toThrow(expect.objectContaining({ name: 'Error' }));
});

test('V1: compressed if the sizes differ', () => {
  const array = Buffer.alloc(32);
  encodeChunkInfoV1({ size: 100, decodedOffset: 0, storedSize: 100, storedOffset: 0 }, array, 0);
  encodeChunkInfoV1({ size: 100, decodedOffset: 4096, storedSize: 90, storedOffset: 100 }, array, 16);
  const { bytes, blob } = metaFile(array, V1, 2);
  const meta = BlobMeta.parseFile(bytes, blob);
  expect(meta.chunk(0)).toMatchObject({ compressed: false, crc: undefined, batch: undefined });
  expect(meta.chunk(1)).toMatchObject({
    compressed: true,
    storedOffset: 100,
    storedSize: 90,
    decodedOffset: 4096,
  });
});

test('the stored data of every form of blob ends where its chunk infos say', () => {
  for (const name of ['small', 'small-batch', 'small-64k', 'tiny-bare', 'tiny-toc', 'tiny-none']) {
    const blob = parseBootstrap(golden(`v6/${name}.boot`)).blobs[0]!;
    const file = golden(`v6/${name}.blob`);
    const meta = BlobMeta.parseStored(
      file.subarray(blob.ci.offset, blob.ci.offset + blob.ci.compressedSize + 4096),
      blob,
    );
    const ends = Array.from({ length: meta.chunkCount }, (_, i) => {
      const { storedOffset, storedSize, batch } = meta.chunk(i);
      return storedOffset + (batch?.storedSize ?? storedSize);
    });
    expect(Math.max(...ends), name).toBe(storedDataSize(blob));
  }
});

/** Files of the bootstrap layer of a golden OCI layout. */
async function bootstrapLayer(layout: string): Promise<Map<string, Buffer>> {
  const dir = join(import.meta.dirname, '../../fixtures/golden/oci', layout, 'blobs/sha256');
  for (const name of readdirSync(dir)) {
    const bytes = golden(`oci/${layout}/blobs/sha256/${name}`);
    if (bytes.readUInt16BE(0) !== 0x1f8b) continue;
    const files = new Map<string, Buffer>();
    const tar = extract();
    tar.end(gunzipSync(bytes));
    for await (const entry of tar) {
      const parts: Buffer[] = [];
      for await (const part of entry) parts.push(part as Buffer);
      files.set(entry.header.name.split('/').at(-1)!, Buffer.concat(parts));
    }
    if (files.has('image.boot')) return files;
  }
  throw new Error(`${layout} has no bootstrap layer`);
}

test.each(['tiny-nydus', 'tiny-batch'])(
  'the .blob.meta files that nydusify ships with %s equal what the blobs hold',
  async (layout) => {
    const files = await bootstrapLayer(layout);
    const bootstrap = parseBootstrap(files.get('image.boot')!, layout);
    expect(bootstrap.blobs).toHaveLength(2);
    for (const blob of bootstrap.blobs) {
      const shipped = BlobMeta.parseFile(files.get(`${blob.id}.blob.meta`)!, blob);
      const file = golden(`oci/${layout}/blobs/sha256/${blob.id}`);
      const stored = BlobMeta.parseStored(
        file.subarray(blob.ci.offset, blob.ci.offset + blob.ci.compressedSize + 4096),
        blob,
      );
      expect(shipped.chunkCount).toBe(blob.chunkCount);
      for (let i = 0; i < blob.chunkCount; i++) expect(shipped.chunk(i)).toEqual(stored.chunk(i));
    }
  },
);
