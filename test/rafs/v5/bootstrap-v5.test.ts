import { describe, expect, test } from 'vitest';
import { parseBootstrap } from '../../../src/rafs/bootstrap.js';
import { readBootstrapTables } from '../../../src/rafs/bootstrap-tables.js';
import { MAX_BLOBS_V5 } from '../../../src/rafs/v5/blob-table.js';
import { readAll } from './read-all.js';
import {
  BLOB_ID,
  buildSample,
  FILE_MODE,
  LINK_MODE,
  ROOT_MODE,
  type Sample,
  type SampleInode,
  SB,
  xattrPair,
} from './sample.js';

const file = (name: string | Buffer, rest: Partial<SampleInode> = {}): SampleInode => ({
  name,
  parent: 1,
  mode: FILE_MODE,
  ...rest,
});

/** A root with the given names in it. */
function tree(children: SampleInode[], rest: Partial<Sample> = {}): Sample {
  const root: SampleInode = {
    name: '/',
    parent: 0,
    mode: ROOT_MODE,
    nlink: 2,
    size: 4096,
    children: [2, children.filter(({ parent }) => parent === 1).length],
    flags: 0,
  };
  return { inodes: [root, ...children], blobs: [BLOB_ID], ext: [{}], ...rest };
}

function expectError(
  sample: Sample,
  code: string,
  text: string,
  change?: (bytes: Buffer, offsets: number[]) => void,
): void {
  const { bytes, offsets } = buildSample(sample);
  change?.(bytes, offsets);
  expect(() => readAll(bytes)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(text) }),
  );
}

test('names, links, targets, xattrs and chunks', () => {
  const chunks = [
    { size: 4096, decodedOffset: 100, index: 1 },
    { size: 10, decodedOffset: 0, index: 0 },
  ];
  const sample = tree([
    file('!', { chunks, nlink: 2 }),
    { name: 'dir', parent: 1, mode: ROOT_MODE, children: [6, 1] },
    { name: 'link', parent: 1, mode: LINK_MODE, target: Buffer.from('dir/x') },
    file('z', {
      xattrs: Buffer.concat([
        xattrPair('user.a', Buffer.from('1\x002')),
        xattrPair('user.b', Buffer.alloc(0)),
      ]),
    }),
    { ...file('again', { chunks, nlink: 2, ino: 2, flags: 0 }), parent: 3 },
  ]);
  const { bytes } = buildSample(sample);
  const first =
    '{"blobIndex":0,"chunkIndex":1,"decodedOffset":100} {"blobIndex":0,"chunkIndex":0,"decodedOffset":0}';
  expect(readAll(bytes)).toEqual([
    '/ 1',
    `/! 2 ${first}`,
    '/dir 3',
    '/link 4 dir/x',
    '/z 5 user.a=1\x002 user.b=',
    `/dir/again 2 ${first}`,
  ]);
  const bootstrap = parseBootstrap(bytes, 'sample');
  const names = (nid: number) =>
    [...bootstrap.readdir(bootstrap.inode(nid))].map(({ name, nid }) => [name.toString(), nid]);
  // "!" sorts before ".".
  expect(names(1)).toEqual([
    ['!', 2],
    ['.', 1],
    ['..', 1],
    ['dir', 3],
    ['link', 4],
    ['z', 5],
  ]);
  expect(names(3)).toEqual([
    ['.', 3],
    ['..', 1],
    ['again', 2],
  ]);
  for (const [name, nid] of [...names(1), ['nothing', undefined]] as [string, number | undefined][]) {
    expect(bootstrap.lookup(bootstrap.inode(1), Buffer.from(name)), name).toBe(nid);
  }
});

test('the chunk map has the chunks that files use, once each, in decoded order', () => {
  const chunks = [2, 0, 1].map((i) => ({
    size: 4096,
    decodedOffset: i * 5000,
    storedOffset: i * 200,
    storedSize: 200,
    flags: 1,
    index: 7 + i,
  }));
  const sample = tree([file('a', { chunks }), file('b', { chunks: [chunks[0]!, chunks[2]!] })]);
  const bootstrap = parseBootstrap(buildSample(sample).bytes, 'sample');
  const map = bootstrap.chunkMap(0)!;
  expect(map.chunkCount).toBe(3);
  expect([0, 1, 2].map((i) => map.chunk(i))).toMatchObject(
    [0, 1, 2].map((i) => ({
      index: i,
      decodedOffset: i * 5000,
      storedOffset: i * 200,
      storedSize: 200,
      size: 4096,
      compressed: true,
    })),
  );
  const at = (offset: number) => map.chunkAtDecoded(offset);
  expect([0, 4095, 4096, 4999, 5000, 9095, 9096, 10_000, 14_095, 14_096].map(at)).toEqual([
    0, 0, 1, 1, 1, 1, 2, 2, 2, 3,
  ]);
  expect(bootstrap.chunkDigest(0, 1)).toEqual(Buffer.alloc(32, 5000 % 251));
  expect(bootstrap.chunkDigest(0, 3)).toBeUndefined();
  expect(bootstrap.chunkDigest(1, 0)).toBeUndefined();
});

test('an old image without the extended blob table: sizes are those of its chunks', () => {
  const chunk = { size: 500, decodedOffset: 0, storedSize: 100, flags: 1 };
  const { bytes } = buildSample(tree([file('a', { chunks: [chunk] })], { ext: undefined }));
  const bootstrap = parseBootstrap(bytes, 'sample');
  expect(bootstrap.blobs[0]).toMatchObject({ chunkCount: 1, uncompressedSize: 500, compressedSize: 100 });
  expect(bootstrap.chunkMap(0)!.chunk(0)).toMatchObject({ storedSize: 100 });
});

test('who needs the tables of RAFS v6 says so', () => {
  expect(() => readBootstrapTables(buildSample(tree([])).bytes, 'dictionary')).toThrow(
    expect.objectContaining({ code: 'UNSUPPORTED', message: expect.stringContaining('RAFS v5') }),
  );
});

test('files of more than 4 GiB', () => {
  const chunkSize = 0x1000000;
  const chunks = Array.from({ length: 321 }, (_, k) => ({
    size: k < 320 ? chunkSize : 1,
    decodedOffset: k * chunkSize,
    storedOffset: k * 100,
    storedSize: k < 320 ? 100 : 1,
    flags: k < 320 ? 1 : 0,
  }));
  const ext = [{ chunkCount: 321, decodedSize: 6 * 2 ** 30 }];
  const { bytes } = buildSample(tree([file('a', { chunks })], { chunkSize, ext }));
  const bootstrap = parseBootstrap(bytes, 'sample');
  const inode = bootstrap.inode(2);
  expect(inode).toMatchObject({ size: 5 * 2 ** 30 + 1, chunkCount: 321 });
  expect(bootstrap.chunkAt(inode, 320)).toEqual({
    blobIndex: 0,
    chunkIndex: 320,
    decodedOffset: 5 * 2 ** 30,
  });
  expect(bootstrap.chunkMap(0)!.chunkAtDecoded(5 * 2 ** 30)).toBe(320);
});

describe('limits', () => {
  test.each([0x1000, 0x100000, 0x1000000])('chunks of %i bytes', (chunkSize) => {
    expect(parseBootstrap(buildSample(tree([], { chunkSize })).bytes).chunkSize).toBe(chunkSize);
  });
  test.each([0, 0x800, 0x1001, 0x2000000, 0x80000000])('no chunks of %i bytes', (chunkSize) => {
    expectError(tree([], { chunkSize }), 'MALFORMED', 'block_size at offset 12');
  });
  test('names of 255 bytes, not of 256', () => {
    expect(readAll(buildSample(tree([file('n'.repeat(255))])).bytes)).toHaveLength(2);
    expectError(tree([file('n'.repeat(256))]), 'MALFORMED', 'i_name_size');
  });
  test('targets of 4095 bytes, not of 4096', () => {
    const link = (size: number): SampleInode => ({
      name: 'l',
      parent: 1,
      mode: LINK_MODE,
      target: Buffer.alloc(size, 't'),
    });
    expect(readAll(buildSample(tree([link(4095)])).bytes)).toHaveLength(2);
    expectError(tree([link(4096)]), 'MALFORMED', 'i_symlink_size');
    expectError(tree([link(0)]), 'MALFORMED', 'i_symlink_size');
  });
  test('xattr names of 255 bytes and values of 65535, not more', () => {
    const pair = (name: number, value: number) =>
      tree([file('x', { xattrs: xattrPair(`user.${'x'.repeat(name - 5)}`, Buffer.alloc(value)) })]);
    expect(readAll(buildSample(pair(255, 65535)).bytes)).toHaveLength(2);
    expectError(pair(256, 0), 'MALFORMED', 'xattr name');
    expectError(pair(10, 65536), 'MALFORMED', 'xattr value');
  });
  test(`${MAX_BLOBS_V5} blobs, not one more`, () => {
    const blobs = (count: number) => Array.from({ length: count }, (_, i) => `${i}`.padStart(64, '0'));
    const of = (count: number) => tree([], { blobs: blobs(count), ext: blobs(count).map(() => ({})) });
    expect(parseBootstrap(buildSample(of(MAX_BLOBS_V5)).bytes).blobs).toHaveLength(MAX_BLOBS_V5);
    expectError(of(MAX_BLOBS_V5 + 1), 'LIMIT_EXCEEDED', 'blobs');
  });
  test.each([
    ['chunkCount', 2 ** 24],
    ['storedSize', 2 ** 40],
    ['decodedSize', 2 ** 44],
  ])('%s of a blob', (field, limit) => {
    expect(parseBootstrap(buildSample(tree([], { ext: [{ [field]: limit }] })).bytes).blobs).toHaveLength(1);
    expectError(tree([], { ext: [{ [field]: limit + 1 }] }), 'LIMIT_EXCEEDED', `${limit + 1}`);
  });
});

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
