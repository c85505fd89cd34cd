import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { extract } from 'tar-stream';
import { describe, expect, test } from 'vitest';
import { encodeBatchContext } from '../../src/rafs/batch-context.js';
import { storedDataSize } from '../../src/rafs/blob-check.js';
import type { BlobEntry } from '../../src/rafs/blob-entry.js';
import { BlobMeta } from '../../src/rafs/blob-meta.js';
import { parseBootstrap } from '../../src/rafs/bootstrap.js';
import { encodeChunkInfoV1 } from '../../src/rafs/chunk-info-v1.js';
import { ChunkInfoFlag, type ChunkInfoV2, encodeChunkInfoV2 } from '../../src/rafs/chunk-info-v2.js';
import { CONTEXT_MAGIC, encodeContextHeader } from '../../src/rafs/context-header.js';
import { MAX_SLICE_SIZE } from '../../src/rafs/limits.js';
import { encodeZranContext, type ZranContext } from '../../src/rafs/zran-context.js';
import { golden } from './golden.js';

const V1 = 0x70000021;
const V2 = 0x70000025;
const BATCH = 0x700000a5;
const ZRAN = 0x7000003d;

/** A `.blob.meta` file with the given array, and an entry that agrees with it. */
function metaFile(
  array: Buffer,
  features: number,
  chunkCount: number,
  contexts = 0,
): { bytes: Buffer; blob: BlobEntry } {
  const ci = {
    compressor: 'none' as const,
    offset: 10512,
    compressedSize: array.length,
    uncompressedSize: array.length,
  };
  const bytes = Buffer.alloc(Math.ceil(array.length / 4096) * 4096 + 4096);
  array.copy(bytes);
  encodeContextHeader(
    {
      magic: CONTEXT_MAGIC,
      features,
      ciCompressor: 0,
      ciEntries: chunkCount,
      ciOffset: ci.offset,
      ciCompressedSize: array.length,
      ciUncompressedSize: array.length,
      contextsOffset: contexts > 0 ? chunkCount * 24 : 0,
      contextsSize: contexts * 40,
      contextsCount: contexts,
      magicEnd: CONTEXT_MAGIC,
    },
    bytes,
    bytes.length - 4096,
  );
  const blob: BlobEntry = {
    id: 'ab',
    index: 0,
    chunkSize: 65536,
    chunkCount,
    compressor: 'zstd',
    digester: 'blake3',
    features,
    compressedSize: 99999,
    uncompressedSize: 0x10000,
    tocSize: 0,
    tocDigest: Buffer.alloc(32),
    ci,
    metaDigest: Buffer.alloc(32),
    metaSize: 0,
  };
  return { bytes, blob };
}

const GOOD: ChunkInfoV2 = {
  decodedOffset: 0,
  size: 5000,
  flags: 0x11,
  storedOffset: 0,
  storedSize: 100,
  dataLow: 7,
  dataHigh: 0,
};

function v2(infos: Partial<ChunkInfoV2>[], contexts: { storedSize: number; decodedSize: number }[] = []) {
  const array = Buffer.alloc(infos.length * 24 + contexts.length * 40);
  infos.forEach((info, i) => {
    encodeChunkInfoV2({ ...GOOD, ...info }, array, i * 24);
  });
  contexts.forEach((context, i) => {
    encodeBatchContext(context, array, infos.length * 24 + i * 40);
  });
  return metaFile(array, contexts.length > 0 ? BATCH : V2, infos.length, contexts.length);
}

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

const SLICE: ZranContext = {
  inOffset: 10,
  inSize: 500,
  outOffset: 0,
  outSize: 20_000,
  dictOffset: 0,
  dictSize: 0,
  byte: 0,
  bits: 0,
};
const IN_SLICE: Partial<ChunkInfoV2> = {
  flags: ChunkInfoFlag.ZRAN | 1,
  storedOffset: 3,
  storedSize: 9,
  dataLow: 0,
};

/** Chunk infos of a layer that is referred to, its contexts, and `dictionaries` behind them. */
function zran(infos: Partial<ChunkInfoV2>[], contexts: Partial<ZranContext>[], dictionaries = 100) {
  const array = Buffer.alloc(infos.length * 24 + contexts.length * 40 + dictionaries, 7);
  array.fill(0, infos.length * 24, array.length - dictionaries);
  infos.forEach((info, i) => {
    encodeChunkInfoV2({ ...GOOD, ...IN_SLICE, ...info }, array, i * 24);
  });
  contexts.forEach((context, i) => {
    encodeZranContext({ ...SLICE, ...context }, array, infos.length * 24 + i * 40);
  });
  const file = metaFile(array, ZRAN, infos.length, contexts.length);
  file.bytes.writeUInt32LE(contexts.length * 40 + dictionaries, file.bytes.length - 4096 + 48);
  file.blob.compressedSize = 510;
  return file;
}

describe('gzip slices', () => {
  test('a chunk is where its slice is, with the state that its decoder begins with', () => {
    const { bytes, blob } = zran(
      [{}, { decodedOffset: 8192, dataHigh: 1, dataLow: 15_000 }],
      [{}, { inOffset: 400, inSize: 110, byte: 0xa0, bits: 3, dictOffset: 20, dictSize: 80 }],
    );
    const meta = BlobMeta.parseFile(bytes, blob);
    expect(meta.chunk(0)).toMatchObject({
      storedOffset: 10,
      storedSize: 0,
      batch: { index: 0, offset: 0, storedSize: 500, decodedSize: 20_000 },
      inflate: { bits: 0, dictionary: Buffer.alloc(0) },
    });
    expect(meta.chunk(1)).toMatchObject({
      storedOffset: 400,
      batch: { index: 1, offset: 15_000, storedSize: 110 },
      inflate: { bits: 3, byte: 0xa0, dictionary: Buffer.alloc(80, 7) },
    });
  });

  test.each<[string, ReturnType<typeof v2>, RegExp]>([
    ['that are not there', zran([{ dataHigh: 1 }], [{}]), /gzip slice 1 does not exist/],
    ['too short for the chunk', zran([{ dataLow: 15_001 }], [{}]), /gzip slice 0: chunk 0 at 15001 to 20001/],
    ['behind the layer', zran([{}], [{ inSize: 501 }]), /ends at 511 in stored data of 510/],
    ['without bytes', zran([{}], [{ inSize: 0 }]), /gzip slice 0: 0 stored bytes/],
    ['that begin with a whole byte', zran([{}], [{ bits: 8 }]), /gzip slice 0: begins with 8 bits/],
    ['with half a window too much', zran([{}], [{ dictSize: 32769 }], 40_000), /a dictionary of 32769 bytes/],
    [
      'with a window behind the end',
      zran([{}], [{ dictOffset: 1, dictSize: 100 }]),
      /dictionary ends at 101 of 100/,
    ],
  ])('%s', (_, { bytes, blob }, message) => {
    expect(() => BlobMeta.parseFile(bytes, blob)).toThrow(
      expect.objectContaining({ code: 'MALFORMED', message: expect.stringMatching(message) }),
    );
  });

  test.each<[string, Partial<ZranContext>, boolean]>([
    ['64 MiB of output', { outSize: MAX_SLICE_SIZE }, true],
    ['a byte more', { outSize: MAX_SLICE_SIZE + 1 }, false],
    ['64 MiB of input', { inSize: MAX_SLICE_SIZE }, true],
    ['a byte more of input', { inSize: MAX_SLICE_SIZE + 1 }, false],
  ])('%s', (_, context, good) => {
    const { bytes, blob } = zran([{}], [context]);
    blob.compressedSize = 2 * MAX_SLICE_SIZE;
    const parse = () => BlobMeta.parseFile(bytes, blob);
    if (good) expect(parse).not.toThrow();
    else expect(parse).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
  });

  test.each<[string, number, number, RegExp]>([
    ['offset', 40, 23, /contexts offset .*: 23, expected 24/],
    ['size', 48, 139, /ci_uncompressed_size .*: 164, expected 163/],
    ['count', 56, 4, /contexts count .*: 4 in 140 bytes/],
  ])('the %s of the contexts', (_, field, value, message) => {
    const { bytes, blob } = zran([{}], [{}]);
    bytes.writeUInt32LE(value, bytes.length - 4096 + field);
    expect(() => BlobMeta.parseFile(bytes, blob)).toThrow(
      expect.objectContaining({ code: 'MALFORMED', message: expect.stringMatching(message) }),
    );
  });
});

describe('encrypted chunks', () => {
  const key = { cipher: { key: Buffer.alloc(32, 1), iv: Buffer.alloc(16) } };
  const parse = ({ bytes, blob }: ReturnType<typeof v2>) => BlobMeta.parseFile(bytes, { ...blob, ...key });
  const raw = { flags: ChunkInfoFlag.ENCRYPTED };

  test('raw ones have their own size, or 18 bytes', () => {
    expect(parse(v2([{ ...raw, size: 16, storedSize: 16 }])).chunk(0)).toMatchObject({ encrypted: true });
    expect(parse(v2([{ ...raw, size: 15, storedSize: 18 }])).chunk(0)).toMatchObject({ compressed: false });
    expect(() => parse(v2([{ ...raw, size: 15, storedSize: 15 }]))).toThrow(/15 bytes instead of 18/);
    expect(() => parse(v2([{ ...raw, size: 16, storedSize: 18 }]))).toThrow(/18 bytes instead of 16/);
  });

  test('a short batch is stored as 18 bytes', () => {
    const member = { flags: raw.flags | ChunkInfoFlag.BATCH, storedSize: 0, size: 5, dataLow: 0 };
    expect(parse(v2([member], [{ storedSize: 18, decodedSize: 15 }])).chunkCount).toBe(1);
    expect(() => parse(v2([member], [{ storedSize: 19, decodedSize: 15 }]))).toThrow(
      /19 stored bytes for 15/,
    );
    expect(() => parse(v2([member], [{ storedSize: 18, decodedSize: 16 }]))).toThrow(
      /18 stored bytes for 16/,
    );
  });
});

test.each<[string, number, RegExp]>([
  ['tarfs', 0x40000040, /^blob ab is an uncompressed tar \(tarfs mode\): such an image has no digests/],
  ['external', 0x40000805, /^blob ab is in an external storage backend \(a model artifact\): such an image/],
])('%s blobs are not supported, and why', (_, features, message) => {
  const { bytes, blob } = v2([{}]);
  expect(() => BlobMeta.parseFile(bytes, { ...blob, features })).toThrow(
    expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringMatching(message) }),
  );
});

test('a blob without contexts is not supported', () => {
  const { bytes, blob } = v2([{}]);
  expect(() => BlobMeta.parseFile(bytes, { ...blob, chunkCount: 0 })).toThrow(
    expect.objectContaining({
      code: 'UNSUPPORTED',
      message: expect.stringContaining('no compression contexts'),
    }),
  );
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
