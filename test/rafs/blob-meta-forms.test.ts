import { describe, expect, test } from 'vitest';
import { BlobMeta } from '../../src/rafs/blob-meta.js';
import { ChunkInfoFlag, type ChunkInfoV2, encodeChunkInfoV2 } from '../../src/rafs/chunk-info-v2.js';
import { MAX_SLICE_SIZE } from '../../src/rafs/limits.js';
import { encodeZranContext, type ZranContext } from '../../src/rafs/zran-context.js';
import { GOOD, metaFile, v2, ZRAN } from './meta-file.js';

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
