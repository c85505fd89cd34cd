import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { decodeBatchContext, encodeBatchContext } from '../../src/rafs/batch-context.js';
import { readI64, readU64, writeI64, writeU64 } from '../../src/rafs/binary.js';
import { type BlobEntry, decodeBlobEntry, encodeBlobEntry } from '../../src/rafs/blob-entry.js';
import { BlobFeature, unknownBlobFeatures } from '../../src/rafs/blob-features.js';
import {
  decodeChunkFormat,
  decodeChunkIndexEntry,
  encodeChunkFormat,
  encodeChunkIndexEntry,
  widenedChunkSize,
} from '../../src/rafs/chunk-index.js';
import { decodeChunkInfoV1, encodeChunkInfoV1 } from '../../src/rafs/chunk-info-v1.js';
import { decodeChunkInfoV2, encodeChunkInfoV2 } from '../../src/rafs/chunk-info-v2.js';
import { decodeChunkTableEntry, encodeChunkTableEntry } from '../../src/rafs/chunk-table.js';
import { decodeContextHeader, encodeContextHeader } from '../../src/rafs/context-header.js';
import { decodeDeviceNumber, encodeDeviceNumber } from '../../src/rafs/device-number.js';
import { decodeDeviceSlot, encodeDeviceSlot, mapDevices } from '../../src/rafs/device-slot.js';
import { decodeExtendedSuperblock, encodeExtendedSuperblock } from '../../src/rafs/extended-superblock.js';
import { decodeFlags, encodeFlags, RafsFlag } from '../../src/rafs/flags.js';
import { decodeInode, encodeInode } from '../../src/rafs/inode.js';
import { decodePrefetchTable, encodePrefetchTable } from '../../src/rafs/prefetch-table.js';
import { decodeSuperblock, encodeSuperblock } from '../../src/rafs/superblock.js';
import { decodeTarFooter, encodeTarFooter } from '../../src/rafs/tar-footer.js';
import { decodeTocEntry, encodeTocEntry } from '../../src/rafs/toc-entry.js';
import {
  decodeXattrs,
  encodeXattrs,
  xattrAreaSize,
  xattrAreaSizeOf,
  xattrCountOf,
} from '../../src/rafs/xattr.js';
import { decodeZranContext, encodeZranContext } from '../../src/rafs/zran-context.js';

const u8 = fc.integer({ min: 0, max: 0xff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const u32 = fc.integer({ min: 0, max: 0xffffffff });
const u53 = fc.maxSafeNat();
const bytesOf = (size: number) =>
  fc.uint8Array({ minLength: size, maxLength: size }).map((array) => Buffer.from(array));
const blobId = fc.stringMatching(/^[0-9a-f]{1,64}$/);

/** decode(encode(x)) = x, at an offset that is not aligned. */
function expectRoundTrip<T>(
  arbitrary: fc.Arbitrary<T>,
  size: number,
  encode: (value: T, target: Buffer, offset: number) => void,
  decode: (bytes: Buffer, offset: number, name: string) => T,
): void {
  fc.assert(
    fc.property(arbitrary, (value) => {
      const target = Buffer.alloc(size + 6);
      encode(value, target, 3);
      expect(decode(target, 3, 'test')).toEqual(value);
    }),
    { numRuns: 50 },
  );
}

describe('decode(encode(x)) is x', () => {
  test('EROFS superblock', () => {
    const superblock = fc.record({
      magic: u32,
      checksum: u32,
      featureCompat: u32,
      blockBits: u8,
      extraSlots: u8,
      rootNid: u16,
      inos: u53,
      epoch: u53,
      epochNsec: u32,
      blocks: u32,
      metaBlock: u32,
      xattrBlock: u32,
      uuid: bytesOf(16),
      volumeName: bytesOf(16),
      featureIncompat: u32,
      compression: u16,
      extraDevices: u16,
      deviceSlot: u16,
      directoryBlockBits: u8,
    });
    expectRoundTrip(superblock, 128, encodeSuperblock, decodeSuperblock);
  });

  test('RAFS extended superblock', () => {
    const extended = fc.record({
      flags: u53,
      blobTable: fc.record({ offset: u53, size: u32 }),
      chunkSize: u32,
      chunkTable: fc.record({ offset: u53, size: u53 }),
      prefetchTable: fc.record({ offset: u53, size: u32 }),
    });
    expectRoundTrip(extended, 256, encodeExtendedSuperblock, decodeExtendedSuperblock);
  });

  test('device slot', () => {
    const slot = fc.record({ tag: blobId, blocks: u32, mappedBlock: u32 });
    expectRoundTrip(slot, 128, encodeDeviceSlot, decodeDeviceSlot);
  });

  test('blob table entry, plain and encrypted', () => {
    const compressor = fc.constantFrom(
      'none' as const,
      'lz4_block' as const,
      'gzip' as const,
      'zstd' as const,
    );
    const common = {
      id: blobId,
      index: u32,
      chunkSize: u32,
      chunkCount: u32,
      compressor,
      digester: fc.constantFrom('blake3' as const, 'sha256' as const),
      features: u32,
      compressedSize: u53,
      uncompressedSize: u53,
      tocSize: u32,
      tocDigest: bytesOf(32),
      ci: fc.record({ compressor, offset: u53, compressedSize: u53, uncompressedSize: u53 }),
    };
    const plain: fc.Arbitrary<BlobEntry> = fc.record({ ...common, metaDigest: bytesOf(32), metaSize: u53 });
    const encrypted: fc.Arbitrary<BlobEntry> = fc.record({
      ...common,
      metaDigest: fc.constant(Buffer.alloc(32)),
      metaSize: fc.constant(0),
      cipher: fc.record({ key: bytesOf(32), iv: bytesOf(16) }),
    });
    expectRoundTrip(fc.oneof(plain, encrypted), 256, encodeBlobEntry, decodeBlobEntry);
  });

  test('extended and compact inode', () => {
    const common = { layout: fc.nat(0x7fff), xattrCount: u16, mode: u16, union: u32, ino: u32 };
    const extended = fc.record({
      ...common,
      extended: fc.constant(true),
      size: u53,
      uid: u32,
      gid: u32,
      mtimeSec: fc.maxSafeInteger(),
      mtimeNsec: u32,
      nlink: u32,
    });
    const compact = fc.record({
      ...common,
      extended: fc.constant(false),
      size: u32,
      uid: u16,
      gid: u16,
      mtimeSec: fc.constant(0),
      mtimeNsec: fc.constant(0),
      nlink: u16,
    });
    expectRoundTrip(extended, 64, encodeInode, decodeInode);
    expectRoundTrip(compact, 32, encodeInode, decodeInode);
  });

  test('chunk index entry, chunk table entry, prefetch table', () => {
    const index = fc.record({
      blobIndex: fc.integer({ min: -1, max: 254 }),
      chunkIndex: fc.nat(0xffffff),
      block: u32,
    });
    expectRoundTrip(index, 8, encodeChunkIndexEntry, decodeChunkIndexEntry);
    const entry = fc.record({
      digest: bytesOf(32),
      blobIndex: u32,
      flags: u32,
      storedSize: u32,
      size: u32,
      storedOffset: u53,
      decodedOffset: u53,
      fileOffset: u53,
      index: u32,
      crc: u32,
    });
    expectRoundTrip(entry, 80, encodeChunkTableEntry, decodeChunkTableEntry);
    const nids = fc.array(fc.integer({ min: 1, max: 0xffffffff }), { maxLength: 5 });
    expectRoundTrip(nids, 20, encodePrefetchTable, (bytes, offset) => decodePrefetchTable(bytes, offset, 20));
  });

  test('chunk info V1 and V2', () => {
    const size = fc.integer({ min: 1, max: 1 << 24 });
    const decodedOffset = fc.nat(0xffffffff).map((block) => block * 4096);
    const storedOffset = fc.maxSafeNat().map((n) => n % 2 ** 40);
    const v1 = fc.record({ size, decodedOffset, storedSize: size, storedOffset });
    expectRoundTrip(v1, 16, encodeChunkInfoV1, decodeChunkInfoV1);
    const v2 = fc.record({
      decodedOffset,
      size,
      flags: u8,
      storedOffset,
      storedSize: fc.nat(0xffffff),
      dataLow: u32,
      dataHigh: u32,
    });
    expectRoundTrip(v2, 24, encodeChunkInfoV2, decodeChunkInfoV2);
  });

  test('batch and zran contexts, context header', () => {
    expectRoundTrip(
      fc.record({ storedSize: u32, decodedSize: u32 }),
      40,
      encodeBatchContext,
      decodeBatchContext,
    );
    const zran = fc.record({
      inOffset: u53,
      inSize: u32,
      outOffset: u53,
      outSize: u32,
      dictOffset: u53,
      dictSize: u32,
      byte: u8,
      bits: u8,
    });
    expectRoundTrip(zran, 40, encodeZranContext, decodeZranContext);
    const header = fc.record({
      magic: u32,
      features: u32,
      ciCompressor: u32,
      ciEntries: u32,
      ciOffset: u53,
      ciCompressedSize: u53,
      ciUncompressedSize: u53,
      contextsOffset: u53,
      contextsSize: u53,
      contextsCount: u32,
      magicEnd: u32,
    });
    expectRoundTrip(header, 4096, encodeContextHeader, decodeContextHeader);
  });

  test('TOC entry and tar header, sizes of 8 GiB and more included', () => {
    const entry = fc.record({
      name: fc.stringMatching(/^[a-z.]{1,16}$/),
      compressor: fc.constantFrom('none' as const, 'zstd' as const, 'lz4_block' as const),
      digest: bytesOf(32),
      offset: u53,
      storedSize: u53,
      size: u53,
    });
    expectRoundTrip(entry, 128, encodeTocEntry, decodeTocEntry);
    const footer = fc.record({ name: fc.stringMatching(/^[a-z.]{1,99}$/), size: u53 });
    expectRoundTrip(
      footer,
      512,
      (value, target, offset) => void encodeTarFooter(value).copy(target, offset),
      decodeTarFooter,
    );
    for (const size of [0, 8 ** 11 - 1, 8 ** 11]) {
      expect(decodeTarFooter(encodeTarFooter({ name: 'x', size }), 0, 'test').size).toBe(size);
    }
  });

  test('xattrs of every namespace', () => {
    const name = fc.oneof(
      fc.constantFrom('system.posix_acl_access', 'system.posix_acl_default'),
      fc
        .tuple(fc.constantFrom('user.', 'trusted.', 'security.'), fc.stringMatching(/^[a-zé.]{1,60}$/))
        .map((p) => p.join('')),
    );
    const xattr = fc.record({
      name: name.map((text) => Buffer.from(text)),
      value: fc.uint8Array({ maxLength: 300 }).map((v) => Buffer.from(v)),
    });
    fc.assert(
      fc.property(fc.array(xattr, { maxLength: 6 }), (xattrs) => {
        const size = xattrAreaSize(xattrs);
        expect(xattrAreaSizeOf(xattrCountOf(size))).toBe(size);
        const target = Buffer.alloc(size);
        encodeXattrs(xattrs, target, 0);
        expect(decodeXattrs(target, 0, size, 'test')).toEqual(xattrs);
      }),
    );
  });

  test('64-bit numbers', () => {
    fc.assert(
      fc.property(fc.maxSafeInteger(), (value) => {
        const bytes = Buffer.alloc(8);
        writeI64(bytes, value, 0);
        expect(bytes.readBigInt64LE()).toBe(BigInt(value));
        expect(readI64(bytes, 0)).toBe(value);
        writeU64(bytes, Math.abs(value), 0);
        expect(bytes.readBigUInt64LE()).toBe(BigInt(Math.abs(value)));
        expect(readU64(bytes, 0)).toBe(Math.abs(value));
      }),
    );
  });

  test('device numbers up to 4095:1048575', () => {
    const device = fc.record({ major: fc.nat(4095), minor: fc.nat(1048575) });
    fc.assert(
      fc.property(device, (value) => {
        expect(decodeDeviceNumber(encodeDeviceNumber(value))).toEqual(value);
      }),
    );
    expect(encodeDeviceNumber({ major: 4095, minor: 1048575 })).toBe(0xffffffff);
    expect(encodeDeviceNumber({ major: 8, minor: 1 })).toBe(0x801);
  });

  test('flags', () => {
    const choice = fc.record({
      compressor: fc.constantFrom('none' as const, 'lz4_block' as const, 'gzip' as const, 'zstd' as const),
      digester: fc.constantFrom('blake3' as const, 'sha256' as const),
      hasXattr: fc.boolean(),
      inlinedChunkDigest: fc.boolean(),
      encrypted: fc.boolean(),
    });
    fc.assert(
      fc.property(choice, (value) => {
        expect(decodeFlags(encodeFlags(value))).toEqual(value);
      }),
    );
  });
});

describe('single facts of the format', () => {
  test('flags: exactly one compressor and one digest algorithm, reserved bits ignored, unknown bits refused', () => {
    const good = RafsFlag.COMPRESSION_ZSTD | RafsFlag.HASH_BLAKE3;
    expect(decodeFlags(good)).toMatchObject({ compressor: 'zstd', digester: 'blake3', encrypted: false });
    expect(decodeFlags(good + 0xfc000000)).toMatchObject({ compressor: 'zstd' });
    expect(decodeFlags(good | RafsFlag.COMPRESSION_NONE)).toContain('one compressor');
    expect(decodeFlags(RafsFlag.COMPRESSION_ZSTD)).toContain('one digest');
    expect(decodeFlags(good | 0x400)).toContain('unknown bits');
    expect(decodeFlags(good + 2 ** 32)).toContain('unknown bits');
  });

  test('the two chunk infos V1 that the format description gives as bytes', () => {
    const bytes = Buffer.from(
      '00000000002022040000000000b02d0100500000007045 03dc12000000d0b900'.replaceAll(' ', ''),
      'hex',
    );
    expect(decodeChunkInfoV1(bytes, 0)).toEqual({
      size: 0x4223,
      decodedOffset: 0,
      storedSize: 0x12dc,
      storedOffset: 0,
    });
    expect(decodeChunkInfoV1(bytes, 16)).toEqual({
      size: 0x3458,
      decodedOffset: 0x5000,
      storedSize: 0xb9e,
      storedOffset: 0x12dc,
    });
  });

  test('chunk formats: 1 MiB in 4096-byte blocks is 0x28; formats without index are none', () => {
    expect(encodeChunkFormat(1 << 20, 4096)).toBe(0x28);
    expect(encodeChunkFormat(1 << 20, 512)).toBe(0x2b);
    expect(decodeChunkFormat(0x28, 4096)).toBe(1 << 20);
    for (const bad of [0x08, 0x68, 0x10028, 0x128]) expect(decodeChunkFormat(bad, 4096)).toBeUndefined();
  });

  test('widened chunk sizes cover the file and stay in five bits', () => {
    expect(widenedChunkSize(1, 65536, 4096)).toBe(65536);
    expect(widenedChunkSize(65537, 65536, 4096)).toBe(131072);
    expect(widenedChunkSize(2 ** 50, 65536, 4096)).toBe(4096 * 2 ** 31);
  });

  test('devices are mapped behind the bootstrap at multiples of 512 KiB', () => {
    expect(mapDevices(20480, [9, 128, 1], 4096)).toEqual([128, 256, 384]);
    expect(mapDevices(0x80000, [129], 4096)).toEqual([128]);
  });

  test('blob features: undefined low bits and the in-memory bit forbid reading, high ones do not', () => {
    expect(unknownBlobFeatures(0x70000fff)).toBe(0);
    expect(unknownBlobFeatures(0x1000 | BlobFeature.ALIGNED)).toBe(0x1000);
    expect(unknownBlobFeatures(0x80000001)).toBe(0x80000000);
    expect(unknownBlobFeatures(0x08000001)).toBe(0);
  });

  test('a tar header that is damaged is refused with the reason', () => {
    const good = encodeTarFooter({ name: 'image.blob', size: 5 });
    const broken = (change: (bytes: Buffer) => void) => {
      const bytes = Buffer.from(good);
      change(bytes);
      return () => decodeTarFooter(bytes, 0, 'blob');
    };
    expect(broken((b) => b.writeUInt8(0x31, 0))).toThrow(/wrong checksum/);
    expect(broken((b) => b.writeUInt8(0x35, 156))).toThrow(/regular file/);
    expect(broken((b) => b.writeUInt8(0x30, 263))).toThrow(/GNU tar magic/);
    expect(() => decodeTarFooter(good.subarray(1), 0, 'blob')).toThrow(/cut off/);
  });
});
