import { expect, it } from 'vitest';
import { Bitmap, bitmapSize } from '../../../src/cache/storage/bitmap.js';
import {
  decodeMapHeader,
  encodeMapHeader,
  MAP_HEADER_SIZE,
  type MapHeader,
  mapPlaces,
  sameIdentity,
} from '../../../src/cache/storage/chunk-map.js';

const header: MapHeader = {
  blobId: 'be7d77ee'.repeat(8),
  chunkCount: 0x01020304,
  decodedSize: 0x0506_0708_9000,
  fingerprint: '0123456789abcdef'.repeat(4),
  clean: { stamp: { inode: 0x1122334455667788n, mtime: -5n }, bitmapsCrc: 0xdeadbeef },
};

it('a clean header has these bytes', () => {
  const bytes = encodeMapHeader(header);
  expect(bytes.length).toBe(MAP_HEADER_SIZE);
  expect(bytes.subarray(0, 32).toString('hex')).toBe(
    `${Buffer.from('RAFTRMAP').toString('hex')}03000000` +
      '01000000' +
      '04030201' +
      'efbeadde' +
      '0090080706050000',
  );
  expect(bytes.toString('hex', 32, 64)).toBe(header.fingerprint);
  expect(bytes.toString('latin1', 64, 128)).toBe(header.blobId);
  expect(bytes.toString('hex', 128, 144)).toBe('8877665544332211' + 'fbffffffffffffff');
  expect(bytes.subarray(148).every((byte) => byte === 0)).toBe(true);
});

it('headers come back as they were written', () => {
  for (const written of [header, { ...header, clean: undefined }, { ...header, blobId: 'a' }]) {
    expect(decodeMapHeader(encodeMapHeader(written))).toEqual(written);
  }
});

it('no damaged byte of a header goes unnoticed', () => {
  for (let at = 0; at < 148; at++) {
    const bytes = encodeMapHeader(header);
    bytes[at]! ^= 0x01;
    expect(decodeMapHeader(bytes), `byte ${at}`).toBeUndefined();
  }
});

it('nothing that is not a whole header of this version is taken for one', () => {
  const bytes = encodeMapHeader(header);
  expect(decodeMapHeader(bytes.subarray(0, MAP_HEADER_SIZE - 1))).toBeUndefined();
  expect(decodeMapHeader(Buffer.alloc(0))).toBeUndefined();
  expect(decodeMapHeader(Buffer.alloc(MAP_HEADER_SIZE))).toBeUndefined();
});

it('maps of different blobs are told apart by every part of their identity', () => {
  expect(sameIdentity(header, { ...header })).toBe(true);
  for (const change of [{ blobId: 'x' }, { chunkCount: 1 }, { decodedSize: 0 }, { fingerprint: '' }]) {
    expect(sameIdentity(header, { ...header, ...change })).toBe(false);
  }
});

it('the parts of a map follow one another, the digests aligned', () => {
  const empty = { bitmaps: 4096, records: 4096, places: 4096, uses: 4096, size: 4096 };
  expect(mapPlaces(0)).toEqual(empty);
  expect(mapPlaces(1)).toEqual({
    bitmaps: 4096,
    records: 8192,
    places: 8192 + 32,
    uses: 8192 + 44,
    size: 8192 + 48,
  });
  expect(mapPlaces(16384)).toMatchObject({ records: 8192, size: 8192 + 16384 * 48 });
  expect(mapPlaces(16385).records).toBe(12288);
});

it('bits are independent of each other', () => {
  const bitmap = new Bitmap(20);
  expect(bitmap.bytes.length).toBe(bitmapSize(20));
  for (const index of [0, 7, 8, 19]) bitmap.set(index);
  bitmap.clear(7);
  const set = Array.from({ length: 20 }, (_, index) => index).filter((index) => bitmap.has(index));
  expect(set).toEqual([0, 8, 19]);
  expect(bitmap.bytes.toString('hex')).toBe('010108');
  expect(bitmap.has(1000)).toBe(false);
});
