import { describe, expect, test } from 'vitest';
import { BlobRef } from '../../src/rafs/blob-ref.js';
import { parseBootstrap } from '../../src/rafs/bootstrap.js';
import { buildBootstrap } from '../../src/rafs/bootstrap-builder.js';
import type { Chunk, FileInode, Inode, TreeNode } from '../../src/rafs/tree.js';
import { MAX_PATH_SIZE, walk } from '../../src/rafs/walk.js';

/**
 * The example of the format description: a small image with two files, whose bytes are given there field by field. It was
 * made by Nydus 2.2, which differs in three fields: no encryption bit in the flags, inode number 0 for the root, devices
 * mapped at multiples of 2 MiB.
 */
function exampleImage(): { bytes: Buffer; blob: BlobRef } {
  const blob = BlobRef.existing({
    id: `be7d77ee${'0'.repeat(50)}0d5fef`,
    chunkSize: 0x100000,
    chunkCount: 2,
    compressor: 'zstd',
    digester: 'blake3',
    features: 0x70000021,
    compressedSize: 0x38da,
    uncompressedSize: 0x9000,
    tocSize: 0x400,
    tocDigest: Buffer.from('cfc89ed0'.padEnd(64, '0'), 'hex'),
    ci: { compressor: 'none', offset: 0x207a, compressedSize: 0x20, uncompressedSize: 0x20 },
    metaDigest: Buffer.alloc(32),
    metaSize: 0,
  });
  const chunk = (digest: string, fields: Omit<Chunk, 'blob' | 'digest' | 'crc' | 'flags'>): Chunk => ({
    blob,
    digest: Buffer.from(digest.padEnd(64, '0'), 'hex'),
    crc: 0,
    flags: 1,
    ...fields,
  });
  const file = (size: number, only: Chunk): TreeNode => {
    const common = {
      mode: 0o100644,
      uid: 0,
      gid: 0,
      mtimeSec: 0x63f23c61,
      mtimeNsec: 0x25789c56,
      xattrs: [],
    };
    const inode: FileInode = { ...common, type: 'file', size, chunks: [only] };
    return { inode };
  };
  const lib = chunk('f7e2735f', {
    index: 0,
    size: 0x4223,
    decodedOffset: 0,
    storedOffset: 0,
    storedSize: 0x12dc,
  });
  const sync = chunk('812465bc', {
    index: 1,
    size: 0x3458,
    decodedOffset: 0x5000,
    storedOffset: 0x12dc,
    storedSize: 0xb9e,
  });
  const root: TreeNode = {
    inode: { type: 'dir', mode: 0o040755, uid: 0, gid: 0, mtimeSec: 0, mtimeNsec: 0, xattrs: [] },
    children: new Map([
      ['sync_io.rs', file(13400, sync)],
      ['lib.rs', file(16931, lib)],
    ]),
  };
  const options = { chunkSize: 0x100000, compressor: 'zstd', digester: 'blake3' } as const;
  return { bytes: buildBootstrap({ root, blobs: [blob], ...options }), blob };
}

describe('the worked example of the format description', () => {
  const { bytes } = exampleImage();
  const at = (offset: number, hex: string) =>
    expect(bytes.subarray(offset, offset + hex.replaceAll(' ', '').length / 2).toString('hex')).toBe(
      hex.replaceAll(' ', ''),
    );

  test('is written', () => {
    expect(bytes.length).toBe(20480);
    at(
      1024,
      'e2e1f5e0 00000000 00000040 0c 00 8000 0300000000000000 0000000000000000 00000000 09000000 02000000 00000000',
    );
    at(1024 + 80, '0c000000 0000 0100 0b00 00');
    at(
      1152,
      '94010001 00000000 0010000000000000 00010000 00001000 0040000000000000 a000000000000000 0000000000000000 00000000',
    );
    at(1408, Buffer.from('be7d77ee').toString('hex'));
    at(1408 + 64, '09000000 80000000');
    at(
      0x1000 + 64,
      '00000000 00001000 02000000 03000000 00000000 21000070 da38000000000000 0090000000000000 00040000 00000000',
    );
    at(0x1000 + 112, '7a20000000000000 2000000000000000 2000000000000000 cfc89ed0');
    at(0x3000, '0500 0000 ed41 0000 4300000000000000 03000000 01000000');
    at(0x3000 + 44, '02000000');
    at(
      0x3040,
      '8000000000000000 3000 02 00 8000000000000000 3100 02 00 8500000000000000 3300 01 00 8800000000000000 3900 01 00',
    );
    at(0x3040 + 48, Buffer.from('...lib.rssync_io.rs').toString('hex'));
    at(
      0x30a0,
      '0900 0000 a481 0000 2342000000000000 28000000 02000000 00000000 00000000 613cf263 00000000 569c7825 01000000',
    );
    at(0x30e0, '0000 0100 00000000');
    at(0x3140, '0100 0100 05000000');
    at(0x4000, '812465bc');
    at(
      0x4000 + 32,
      '00000000 01000000 9e0b0000 58340000 dc12000000000000 0050000000000000 0000000000000000 01000000 00000000',
    );
    at(0x4050, 'f7e2735f');
  });

  test('is read', () => {
    const bootstrap = parseBootstrap(bytes);
    expect(bootstrap).toMatchObject({ rootNid: 128, chunkSize: 0x100000, inodeCount: 3, blocks: 9 });
    const root = bootstrap.inode(128);
    expect(root).toMatchObject({ type: 'dir', size: 67, nlink: 2 });
    expect([...bootstrap.readdir(root)].map(({ name, nid, type }) => [String(name), nid, type])).toEqual([
      ['.', 0x80, 'dir'],
      ['..', 0x80, 'dir'],
      ['lib.rs', 0x85, 'file'],
      ['sync_io.rs', 0x88, 'file'],
    ]);
    const sync = bootstrap.inode(bootstrap.lookup(root, Buffer.from('sync_io.rs'))!);
    expect(sync).toMatchObject({
      nid: 0x88,
      size: 13400,
      mtimeSec: 0x63f23c61,
      mtimeNsec: 0x25789c56,
      chunkCount: 1,
    });
    expect(bootstrap.chunkAt(sync, 0)).toEqual({ blobIndex: 0, chunkIndex: 1, decodedOffset: 0x5000 });
    expect(bootstrap.chunkDigest(0, 1)!.toString('hex', 0, 4)).toBe('812465bc');
  });
});

const LIB = 0x30a0;
const SYNC = 0x3100;
const DIRENTS = 0x3040;
const ENTRY = 0x1000;

describe('one wrong field is an error that names the field and its offset', () => {
  type Change = (bytes: Buffer) => void;
  const cases: [string, Change, string, RegExp][] = [
    ['magic', (b) => b.writeUInt8(0, 1024), 'MALFORMED', /superblock magic at offset 1024/],
    ['checksum', (b) => b.writeUInt8(1, 1028), 'MALFORMED', /superblock checksum at offset 1028/],
    ['compat bit', (b) => b.writeUInt32LE(0, 1032), 'MALFORMED', /feature_compat at offset 1032/],
    ['incompat bits', (b) => b.writeUInt8(0x0d, 1104), 'MALFORMED', /feature_incompat at offset 1104/],
    ['block size', (b) => b.writeUInt8(13, 1036), 'MALFORMED', /blkszbits at offset 1036/],
    ['tarfs block size without tarfs', (b) => b.writeUInt8(9, 1036), 'MALFORMED', /tarfs mode/],
    ['root nid 0', (b) => b.writeUInt16LE(0, 1038), 'MALFORMED', /root_nid at offset 1038/],
    ['root nid of a file', (b) => b.writeUInt16LE(0x85, 1038), 'MALFORMED', /root inode .* is a file/],
    [
      'root nid in nothing',
      (b) => b.writeUInt16LE(0x80 - 1, 1038),
      'MALFORMED',
      /inode 127 i_mode at offset/,
    ],
    ['inos 0', (b) => b.writeUInt8(0, 1040), 'MALFORMED', /inos at offset 1040/],
    ['meta area outside', (b) => b.writeUInt32LE(9, 1064), 'MALFORMED', /meta_blkaddr at offset 1064/],
    ['extra devices', (b) => b.writeUInt16LE(2, 1110), 'MALFORMED', /extra_devices at offset 1110/],
    ['directory block bits', (b) => b.writeUInt8(1, 1114), 'MALFORMED', /dirblkbits at offset 1114/],
    ['unknown flag', (b) => b.writeUInt32LE(0x800, 1156), 'MALFORMED', /flags at offset 1152/],
    ['chunk size', (b) => b.writeUInt32LE(0x100001, 1172), 'MALFORMED', /chunk_size at offset 1172/],
    ['blob table unaligned', (b) => b.writeUInt32LE(0x1004, 1160), 'MALFORMED', /blob_table at offset 4100/],
    ['blob table size', (b) => b.writeUInt32LE(100, 1168), 'MALFORMED', /blob_table_size/],
    [
      'blob table outside',
      (b) => b.writeUInt32LE(0x100000, 1160),
      'MALFORMED',
      /blob_table at offset 1048576: range/,
    ],
    ['chunk table size', (b) => b.writeUInt32LE(81, 1184), 'MALFORMED', /chunk_table_size/],
    ['chunk table beyond 2^53', (b) => b.writeUInt32LE(0xffffffff, 1180), 'MALFORMED', /chunk_table/],
    ['tables overlap', (b) => b.writeUInt32LE(0x1000, 1176), 'MALFORMED', /overlap/],
    [
      'prefetch table outside',
      (b) => {
        b.writeUInt32LE(0x5000, 1192);
        b.writeUInt32LE(4, 1200);
      },
      'MALFORMED',
      /prefetch_table at offset 20480/,
    ],
    [
      'device without blocks',
      (b) => b.writeUInt32LE(0, 1472),
      'MALFORMED',
      /device slot blocks at offset 1408/,
    ],
    [
      'blob id with a slash',
      (b) => b.write('../../etc/passwd', ENTRY),
      'MALFORMED',
      /blob_id at offset 4096/,
    ],
    ['blob id empty', (b) => b.fill(0, ENTRY, ENTRY + 64), 'MALFORMED', /blob_id at offset 4096/],
    ['blob index', (b) => b.writeUInt32LE(1, ENTRY + 64), 'MALFORMED', /blob_index/],
    [
      'blob chunk size',
      (b) => b.writeUInt32LE(4096, ENTRY + 68),
      'MALFORMED',
      /entry 0 chunk_size .* 4096 in an image of 1048576/,
    ],
    [
      'chunk count',
      (b) => b.writeUInt32LE(0x1000001, ENTRY + 72),
      'LIMIT_EXCEEDED',
      /chunk_count 16777217; at most 16777216/,
    ],
    [
      'chunk count against array',
      (b) => b.writeUInt32LE(3, ENTRY + 72),
      'MALFORMED',
      /ci_uncompressed_size .* 32 for 3 chunks; expected 48/,
    ],
    [
      'compressor',
      (b) => b.writeUInt32LE(4, ENTRY + 76),
      'MALFORMED',
      /compression_algo at offset 4172: unknown algorithm 4/,
    ],
    ['digest algorithm', (b) => b.writeUInt32LE(2, ENTRY + 80), 'MALFORMED', /digest_algo/],
    ['unknown low feature', (b) => b.writeUInt32LE(0x70001021, ENTRY + 84), 'UNSUPPORTED', /features 0x1000/],
    ['ALIGNED clear', (b) => b.writeUInt32LE(0x70000020, ENTRY + 84), 'MALFORMED', /ALIGNED/],
    ['BATCH without V2', (b) => b.writeUInt32LE(0x700000a1, ENTRY + 84), 'MALFORMED', /CHUNK_INFO_V2/],
    ['ENCRYPTED without cipher', (b) => b.writeUInt32LE(0x70000125, ENTRY + 84), 'MALFORMED', /cipher_algo/],
    ['compressed size', (b) => b.writeUInt32LE(0x10000, ENTRY + 92), 'LIMIT_EXCEEDED', /compressed_size/],
    [
      'array larger stored than decoded',
      (b) => b.writeUInt32LE(0x21, ENTRY + 120),
      'MALFORMED',
      /ci_compressed_size/,
    ],
    ['unknown cipher', (b) => b.writeUInt32LE(2, ENTRY + 216), 'UNSUPPORTED', /cipher 2/],
    [
      'unknown inode format',
      (b) => b.writeUInt16LE(0x8009, LIB),
      'MALFORMED',
      /inode 133 i_format at offset 12448/,
    ],
    ['compressed layout', (b) => b.writeUInt16LE(0x3, LIB), 'MALFORMED', /i_format/],
    ['directory as chunks', (b) => b.writeUInt16LE(0x9, 0x3000), 'MALFORMED', /i_format/],
    ['mode of no type', (b) => b.writeUInt16LE(0o644, LIB + 4), 'MALFORMED', /inode 133 i_mode/],
    ['xattrs outside', (b) => b.writeUInt16LE(0xffff, LIB + 2), 'MALFORMED', /i_xattr_icount/],
    [
      'file too large for its index',
      (b) => b.writeUInt32LE(0x1000, LIB + 12),
      'MALFORMED',
      /chunk index that ends outside|chunk format|chunks of/,
    ],
    ['file size beyond 2^53', (b) => b.writeUInt32LE(0xffffffff, LIB + 12), 'MALFORMED', /i_size/],
    ['chunk format without index', (b) => b.writeUInt32LE(0x08, LIB + 16), 'MALFORMED', /chunk format/],
    [
      'smaller chunks than the image',
      (b) => b.writeUInt32LE(0x20, LIB + 16),
      'UNSUPPORTED',
      /chunks of 4096 in an image of 1048576/,
    ],
    ['nanoseconds', (b) => b.writeUInt32LE(1e9, LIB + 40), 'MALFORMED', /i_mtime_nsec/],
    ['mtime beyond 2^53', (b) => b.writeInt32LE(0x7fffffff, LIB + 36), 'MALFORMED', /i_mtime /],
    [
      'device 0',
      (b) => b.writeUInt16LE(0, LIB + 66),
      'MALFORMED',
      /chunk index entry of inode 133 at offset 12512: device 0 of 1/,
    ],
    ['device 2', (b) => b.writeUInt16LE(2, LIB + 66), 'MALFORMED', /device 2 of 1/],
    ['chunk index', (b) => b.writeUInt16LE(2, LIB + 64), 'MALFORMED', /chunk 2 of a blob of 2/],
    [
      'chunk index, high bits',
      (b) => b.writeUInt16LE(0x0101, LIB + 66),
      'MALFORMED',
      /chunk 65536 of a blob of 2/,
    ],
    [
      'block outside the blob',
      (b) => b.writeUInt32LE(9, SYNC + 68),
      'MALFORMED',
      /offset 36864 in a blob of 36864/,
    ],
    ['hole', (b) => b.writeUInt32LE(0xffffffff, SYNC + 68), 'UNSUPPORTED', /hole/],
    [
      'directory too large to be inline',
      (b) => b.writeUInt32LE(4095, 0x3008),
      'MALFORMED',
      /i_size .* leaves its block/,
    ],
    [
      'directory blocks outside',
      (b) => b.writeUInt32LE(0x100043, 0x3008),
      'MALFORMED',
      /i_u .* end outside the file/,
    ],
    [
      'directory smaller than an entry',
      (b) => b.writeUInt32LE(11, 0x3008),
      'MALFORMED',
      /directory block at offset 12352/,
    ],
    [
      'first name offset',
      (b) => b.writeUInt16LE(13, DIRENTS + 8),
      'MALFORMED',
      /nameoff of the first entry at offset 12360/,
    ],
    [
      'first name offset behind the block',
      (b) => b.writeUInt16LE(0x60, DIRENTS + 8),
      'MALFORMED',
      /nameoff of the first/,
    ],
    [
      'name offsets descend',
      (b) => b.writeUInt16LE(0x30, DIRENTS + 32),
      'MALFORMED',
      /nameoff of a directory entry/,
    ],
    ['name with a slash', (b) => b.write('/', DIRENTS + 0x34), 'MALFORMED', /name .* holds "\/" or NUL/],
    ['name with NUL', (b) => b.writeUInt8(0, DIRENTS + 0x34), 'MALFORMED', /name .* holds "\/" or NUL/],
    ['names out of order', (b) => b.write('z', DIRENTS + 0x33), 'MALFORMED', /"sync_io.rs" is out of order/],
    [
      'entry type',
      (b) => b.writeUInt8(8, DIRENTS + 34),
      'MALFORMED',
      /directory entry type at offset 12386: 8/,
    ],
    [
      'entry type of another inode',
      (b) => b.writeUInt8(2, DIRENTS + 34),
      'MALFORMED',
      /entry says dir, inode 133 is a file/,
    ],
    [
      'nid outside',
      (b) => b.writeUInt32LE(0x10000, DIRENTS + 24),
      'MALFORMED',
      /inode 65536 at offset .* outside/,
    ],
    [
      'nid beyond 2^53',
      (b) => b.writeUInt32LE(0x80000000, DIRENTS + 28),
      'MALFORMED',
      /inode \d+ at offset .* outside/,
    ],
    [
      'a loop of directories',
      (b) => {
        b.writeUInt32LE(0x80, DIRENTS + 24);
        b.writeUInt8(2, DIRENTS + 34);
      },
      'MALFORMED',
      /\/lib.rs: directory 128 has two names/,
    ],
    ['file cut', () => {}, 'MALFORMED', /4095 bytes are too few/],
  ];
  test.each(cases)('%s', (what, change, code, message) => {
    const bytes = exampleImage().bytes;
    change(bytes);
    const read = () => {
      const bootstrap = parseBootstrap(what === 'file cut' ? bytes.subarray(0, 4095) : bytes, 'image.boot');
      for (const { inode } of walk(bootstrap)) {
        for (let k = 0; k < inode.chunkCount; k++) bootstrap.chunkAt(inode, k);
      }
    };
    expect(read).toThrow(
      expect.objectContaining({ name: 'RafterError', code, message: expect.stringMatching(message) }),
    );
    expect(read).toThrow(/^image\.boot: /);
  });
});

describe('what other writers may do', () => {
  test('compact inodes', () => {
    const { bytes } = exampleImage();
    // lib.rs again, in 32 bytes without mtime; its index moves up to 0x30c0.
    bytes.fill(0, LIB, LIB + 72);
    bytes.writeUInt16LE(0x0008, LIB);
    bytes.writeUInt16LE(0o100600, LIB + 4);
    bytes.writeUInt16LE(3, LIB + 6);
    bytes.writeUInt32LE(16931, LIB + 8);
    bytes.writeUInt32LE(0x28, LIB + 16);
    bytes.writeUInt16LE(1000, LIB + 24);
    bytes.writeUInt16LE(100, LIB + 26);
    bytes.writeUInt16LE(1, LIB + 32 + 2);
    const bootstrap = parseBootstrap(bytes);
    const lib = bootstrap.inode(0x85);
    expect(lib).toMatchObject({
      type: 'file',
      mode: 0o100600,
      uid: 1000,
      gid: 100,
      nlink: 3,
      size: 16931,
      mtimeSec: 0,
    });
    expect(bootstrap.chunkAt(lib, 0)).toEqual({ blobIndex: 0, chunkIndex: 0, decodedOffset: 0 });
  });

  test('more zero blocks at the end, other compatible features, a uuid, an odd number of blocks', () => {
    const { bytes } = exampleImage();
    const longer = Buffer.concat([bytes, Buffer.alloc(8192)]);
    longer.writeUInt32LE(0x40000003, 1032);
    longer.fill(7, 1072, 1104);
    longer.writeUInt32LE(4096, 1060);
    longer.writeUInt32LE(0x78000021, ENTRY + 84);
    expect([...walk(parseBootstrap(longer))]).toHaveLength(3);
  });

  test('a prefetch table without an offset, and one that ends early at 0', () => {
    const { bytes } = exampleImage();
    bytes.writeUInt32LE(8, 1200);
    expect(parseBootstrap(bytes).prefetchNids).toEqual([]);
    bytes.writeUInt32LE(0x1100, 1192);
    bytes.writeUInt32LE(0x85, 0x1100);
    expect(parseBootstrap(bytes).prefetchNids).toEqual([0x85]);
  });

  test('an empty chunk table: digests are not known', () => {
    const { bytes } = exampleImage();
    bytes.writeUInt32LE(0, 1184);
    expect(parseBootstrap(bytes).chunkDigest(0, 0)).toBeUndefined();
  });
});

test('a walk stops at a path that is longer than the limit', () => {
  const common: Inode = {
    type: 'dir',
    mode: 0o040755,
    uid: 0,
    gid: 0,
    mtimeSec: 0,
    mtimeNsec: 0,
    xattrs: [],
  };
  const name = 'd'.repeat(255);
  let at: TreeNode = { inode: { ...common }, children: new Map() };
  for (let i = 0; i * 256 <= MAX_PATH_SIZE; i++) {
    at = { inode: { ...common }, children: new Map([[name, at]]) };
  }
  const bytes = buildBootstrap({
    root: at,
    blobs: [],
    chunkSize: 4096,
    compressor: 'zstd',
    digester: 'blake3',
  });
  const bootstrap = parseBootstrap(bytes);
  expect(() => [...walk(bootstrap)]).toThrow(expect.objectContaining({ code: 'LIMIT_EXCEEDED' }));
});

test('asking for what an inode is not is a mistake of the program', () => {
  const bootstrap = parseBootstrap(exampleImage().bytes);
  const [dir, file] = [bootstrap.inode(128), bootstrap.inode(0x85)];
  for (const ask of [
    () => bootstrap.lookup(file, Buffer.from('x')),
    () => bootstrap.readdir(file),
    () => bootstrap.readlink(file),
    () => bootstrap.chunkAt(dir, 0),
    () => bootstrap.chunkAt(file, 1),
  ]) {
    expect(ask).toThrow(expect.objectContaining({ name: 'Error' }));
  }
});
