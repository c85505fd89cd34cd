import { describe, expect, test } from 'vitest';
import { parseBootstrap } from '../../../src/rafs/bootstrap.js';
import { readBootstrapTables } from '../../../src/rafs/bootstrap-tables.js';
import { MAX_BLOBS_V5 } from '../../../src/rafs/v5/blob-table.js';
import { expectError, readAll } from './read-all.js';
import { buildSample, file, LINK_MODE, ROOT_MODE, type SampleInode, tree, xattrPair } from './sample.js';

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
