import { describe, expect, test } from 'vitest';
import { parseBootstrap } from '../../../src/rafs/bootstrap.js';
import { expectError } from './read-all.js';
import {
  BLOB_ID,
  buildSample,
  FILE_MODE,
  file,
  LINK_MODE,
  ROOT_MODE,
  type Sample,
  SB,
  tree,
  xattrPair,
} from './sample.js';

describe('what cannot be is refused, with its place', () => {
  const u32 = (at: number, value: number) => (bytes: Buffer) => void bytes.writeUInt32LE(value, at);
  const one = tree([file('a', { chunks: [{ size: 10, decodedOffset: 0, digest: 9 }] })]);

  test.each<[string, string, (bytes: Buffer) => void]>([
    ['version', 'superblock version at offset 4', u32(SB.version, 0x400)],
    ['size', 'superblock size at offset 8', u32(SB.size, 4096)],
    ['unknown flag', 'flags at offset 16', u32(SB.flags, 0x2094)],
    ['two compressors', 'flags at offset 16', u32(SB.flags, 0x96)],
    ['more inodes than names', 'inodes_count at offset 24', u32(SB.inodesCount, 3)],
    ['no names', 'inode_table_entries', u32(SB.inodeEntries, 0)],
    ['inode table in the superblock', 'inode_table_offset', u32(SB.inodeTable, 4096)],
    ['inode table outside the file', 'inode_table_offset', u32(SB.inodeEntries, 0xffffffff)],
    ['tables in each other', 'is inside the', u32(SB.blobTable, 8192)],
    ['table out of line', 'blob_table_offset', u32(SB.blobTable, 8204)],
    ['extended table outside the file', 'extended_blob_table_offset', u32(SB.extEntries, 1000)],
    ['prefetch table outside the file', 'prefetch_table_offset', u32(SB.prefetchEntries, 100_000)],
    ['inode outside the file', 'inode table entry 2', u32(8196, 0xffffffff)],
    ['inode in the superblock', 'inode table entry 2', u32(8196, 100)],
  ])('superblock and tables: %s', (what, text, change) => {
    expectError(one, what === 'version' ? 'UNSUPPORTED' : 'MALFORMED', text, change);
  });

  test('a file that is shorter than its superblock', () => {
    const { bytes } = buildSample(one);
    expect(() => parseBootstrap(bytes.subarray(0, 8192), 'sample')).toThrow(/too few for a RAFS v5/);
  });

  test.each<[string, string, number, number]>([
    ['no number', 'i_ino', 40, 0],
    ['number of another', 'a file with 1 links', 40, 1],
    ['number beyond the table', 'i_ino', 40, 3],
    ['no parent', 'i_parent', 32, 0],
    ['itself as parent', 'i_parent', 32, 2],
    ['no type', 'i_mode', 60, 0],
    ['no link', 'i_nlink', 88, 0],
    ['huge size', 'i_size', 68, 0xffffffff],
    ['huge time', 'i_mtime', 116, 0x7fffffff],
    ['nanoseconds', 'i_mtime_nsec', 108, 1_000_000_000],
    ['missing chunk', 'i_child_count', 96, 0],
    ['too many chunks', 'i_child_count', 96, 2],
    ['no name', 'i_name_size', 100, 0],
    ['symlink that is none', 'SYMLINK does not fit a file', 80, 1],
    ['xattrs outside the file', 'xattr size', 80, 4],
  ])('inode: %s', (_, text, at, value) => {
    expectError(one, 'MALFORMED', text, (bytes, [, offset]) => void bytes.writeUInt32LE(value, offset! + at));
  });

  test('a file with holes is not supported', () => {
    expectError(
      one,
      'UNSUPPORTED',
      'holes',
      (bytes, [, offset]) => void bytes.writeUInt32LE(8, offset! + 80),
    );
  });

  test.each(['a/b', 'a\0b', '.', '..'])('the name %j', (name) => {
    expectError(tree([file(name)]), 'MALFORMED', 'cannot be a file name');
  });

  test('names out of order, or twice', () => {
    expectError(tree([file('b'), file('a')]), 'MALFORMED', 'out of order');
    expectError(tree([file('a'), file('a')]), 'MALFORMED', 'out of order');
  });

  test('directories that share their names, lead back or end outside the table', () => {
    const dir = (children: [number, number]) =>
      tree([{ name: 'd', parent: 1, mode: ROOT_MODE, children }, file('f')]);
    expectError(dir([3, 1]), 'MALFORMED', 'a name in it is in directory 1');
    expectError(dir([2, 1]), 'MALFORMED', 'i_child_index');
    expectError(dir([3, 2]), 'MALFORMED', 'i_child_index');
    expectError(tree([file('f')], {}), 'MALFORMED', 'is a file', (bytes, [offset]) => {
      bytes.writeUInt32LE(FILE_MODE, offset! + 60);
      bytes.writeUInt32LE(0, offset! + 96);
      bytes.writeUInt32LE(0, offset! + 64);
    });
  });

  test('a second name of a second name', () => {
    const second = { nlink: 3, flags: 2 };
    expectError(
      tree([file('a', { ...second, ino: 3 }), file('b', { ...second, ino: 2 })]),
      'MALFORMED',
      'is a second name of',
    );
  });

  test.each<[string, string, Partial<Sample['inodes'][number]>]>([
    ['of no blob', 'blob 1 of 1', { chunks: [{ size: 10, decodedOffset: 0, blob: 1 }] }],
    [
      'elsewhere in the file',
      '10 bytes at 4096 of the file',
      { chunks: [{ size: 10, decodedOffset: 0, fileOffset: 4096 }] },
    ],
    ['of another size', 'expected 20 at 0', { size: 20, chunks: [{ size: 10, decodedOffset: 0 }] }],
    ['behind the decoded blob', 'in a decoded blob of', { chunks: [{ size: 10, decodedOffset: 1 << 20 }] }],
    [
      'behind the stored blob',
      'in stored data of',
      { chunks: [{ size: 10, decodedOffset: 0, storedOffset: 1 << 20 }] },
    ],
    [
      'of no stored bytes',
      'has no stored bytes',
      { chunks: [{ size: 10, decodedOffset: 0, storedSize: 0 }] },
    ],
    ['raw in another size', 'is stored raw', { chunks: [{ size: 10, decodedOffset: 0, storedSize: 9 }] }],
    [
      'over another',
      'is below',
      {
        chunks: [
          { size: 4096, decodedOffset: 0 },
          { size: 10, decodedOffset: 4000 },
        ],
      },
    ],
    [
      'with two digests',
      'different things of one chunk',
      {
        size: 8192,
        chunks: [
          { size: 4096, decodedOffset: 0 },
          { size: 4096, decodedOffset: 0, digest: 9 },
        ],
      },
    ],
  ])('a chunk %s', (_, text, inode) => {
    expectError(tree([file('a', inode)]), 'MALFORMED', text);
  });

  test('files whose chunks lie over each other', () => {
    const { bytes, offsets } = buildSample(
      tree([file('a'), file('b')], { blobs: [BLOB_ID, 'c'], ext: [{}, {}] }),
    );
    const room = 20_000;
    for (const at of offsets.slice(1)) {
      bytes.writeUInt32LE((room / 80) * 4096, at + 64);
      bytes.writeUInt32LE(room / 80, at + 96);
    }
    const overlapping = parseBootstrap(Buffer.concat([bytes, Buffer.alloc(room)]), 'sample');
    expect(() => overlapping.chunkMap(0)).toThrow(/its chunks lie over those of other files/);
  });

  test.each([
    ['with another character', '../../etc/passwd'],
    ['of 65 characters', 'a'.repeat(65)],
  ])('a blob id %s', (_, id) => {
    expectError(tree([], { blobs: [id] }), 'MALFORMED', 'blob_id at offset');
  });

  test('a blob that is there twice, and an extended table that is too short', () => {
    expectError(tree([], { blobs: [BLOB_ID, BLOB_ID], ext: [{}, {}] }), 'MALFORMED', 'twice');
    expectError(tree([], { blobs: [BLOB_ID, 'c'], ext: [{}] }), 'MALFORMED', 'extended blob table');
  });

  test('a blob in a form that RAFS v5 does not have', () => {
    const chunks = [{ size: 10, decodedOffset: 0 }];
    for (const features of [0x8, 0x10, 0x40, 0x80, 0x800])
      expectError(
        tree([file('a', { chunks })], { ext: [{ features }] }),
        'UNSUPPORTED',
        `0x${features.toString(16)}`,
      );
  });

  test('an encrypted blob, whose key is nowhere', () => {
    const chunks = [{ size: 10, decodedOffset: 0 }];
    expectError(
      tree([file('a', { chunks })], { ext: [{ features: 0x40000104 }] }),
      'UNSUPPORTED',
      'is encrypted',
    );
  });

  test('xattrs that leave their inode or have no known name', () => {
    const long = xattrPair('user.a', Buffer.from('1'));
    long.writeUInt32LE(100);
    expectError(tree([file('x', { xattrs: long })]), 'MALFORMED', 'xattr pair');
    expectError(tree([file('x', { xattrs: Buffer.alloc(3, 1) })]), 'MALFORMED', 'xattr pair');
    expectError(
      tree([file('x', { xattrs: xattrPair('other.a', Buffer.alloc(1)) })]),
      'MALFORMED',
      'xattr name',
    );
    expectError(tree([file('x', { xattrs: Buffer.from('\x03\0\0\0abc') })]), 'MALFORMED', 'xattr name');
  });

  test('a target with NUL', () => {
    expectError(
      tree([{ name: 'l', parent: 1, mode: LINK_MODE, target: Buffer.from('a\0b') }]),
      'MALFORMED',
      'holds NUL',
    );
  });
});
