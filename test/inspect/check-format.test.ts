import { expect, it } from 'vitest';
import { crc32c, sha256 } from '../../src/codec/digest.js';
import { checkChunkTable, openChunkTable } from '../../src/inspect/check-chunk-table.js';
import { checkMetaArea } from '../../src/inspect/check-meta-area.js';
import { checkTables } from '../../src/inspect/check-tables.js';
import { checkToc } from '../../src/inspect/check-toc.js';
import { createFaultList, type Fault } from '../../src/inspect/faults.js';
import { BlobBuilder } from '../../src/rafs/blob-builder.js';
import { type DiskInode, parseBootstrap } from '../../src/rafs/bootstrap.js';
import { readBootstrapTables } from '../../src/rafs/bootstrap-tables.js';
import { walk } from '../../src/rafs/walk.js';
import { BOOTSTRAPS, golden } from '../rafs/golden.js';

/** Changes a bootstrap and gives the offset at which the fault is to be reported. */
type Change = (bytes: Buffer) => number;

const tables = (bytes: Buffer) => readBootstrapTables(bytes, 'changed');

/** Sets one byte. */
const set =
  (offset: number | Change, value = 1): Change =>
  (bytes) => {
    const at = typeof offset === 'number' ? offset : offset(bytes);
    bytes[at] = value;
    return at;
  };

/** The offset `at` of the first inode that `is` wanted. */
const inInode =
  (at: (inode: DiskInode, start: number) => number, is: (inode: DiskInode) => boolean): Change =>
  (bytes) => {
    for (const { inode } of walk(parseBootstrap(bytes)))
      if (is(inode)) return at(inode, tables(bytes).metaOffset + inode.nid * 32);
    throw new Error('no such inode');
  };

const anyFile = ({ type }: DiskInode) => type === 'file';
const withXattrs = ({ xattrSize }: DiskInode) => xattrSize > 0;
const aligned =
  (by: number) =>
  ({ type, tailOffset }: DiskInode) =>
    type === 'dir' && tailOffset > by;
const inRow =
  (field: number): Change =>
  (bytes) =>
    tables(bytes).extended.chunkTable.offset + field;
const row: Change = inRow(0);
const inBlobEntry =
  (field: number): Change =>
  (bytes) =>
    tables(bytes).extended.blobTable.offset + field;
const at =
  (change: Change, place: Change): Change =>
  (bytes) => {
    change(bytes);
    return place(bytes);
  };
const FULL = 'v6/full.boot';
const DEVICE = 1408;

const cases: [string, string, Change, RegExp][] = [
  ['a byte in front of the superblock', FULL, set(17), /first 1024 bytes/],
  ['a checksum is asked for', FULL, at(set(1032), () => 1032), /checksum/],
  ['the superblock counts other blocks', FULL, at(set(1061, 77), () => 1060), /blocks, but the devices/],
  ['a reserved byte of the superblock', FULL, set(1024 + 100), /superblock: reserved/],
  [
    'a flag denies the digests in the blobs',
    FULL,
    at(
      (b) => b.writeUInt16LE(b.readUInt16LE(1152) & ~0x100, 1152),
      () => 1152,
    ),
    /INLINED_CHUNK_DIGEST is not set/,
  ],
  [
    'a flag claims encryption',
    FULL,
    at(
      (b) => b.writeUInt8(0x02, 1155),
      () => 1152,
    ),
    /ENCRYPTION_AES_128_XTS is set/,
  ],
  ['the padding of the RAFS superblock', FULL, set(1204), /RAFS superblock: reserved/],
  ['a reserved byte of the RAFS superblock', FULL, set(1407), /RAFS superblock: reserved/],
  ['a device has another tag', FULL, set(DEVICE, 0x78), /slot 0: tag/],
  ['a device has another size', FULL, at(set(DEVICE + 65, 0x66), () => DEVICE + 64), /slot 0: .* blocks/],
  [
    'a device lies over the bootstrap',
    FULL,
    at(
      (b) => b.writeUInt32LE(0, DEVICE + 68),
      () => DEVICE + 68,
    ),
    /mapped to block 0/,
  ],
  ['a reserved byte of a device slot', FULL, set(DEVICE + 127), /slot 0: reserved/],
  ['a byte between devices and blob table', FULL, set(4000), /front of the blob table/],
  ['a blob without separate chunk map has the size of one', FULL, set(inBlobEntry(200)), /blob_meta_size/],
  ['a blob without cipher has a tweak', FULL, set(inBlobEntry(208)), /cipher_iv/],
  ['a reserved byte of the blob table', FULL, set(inBlobEntry(255)), /entry 0: reserved/],
  ['a byte in front of the meta area', FULL, set((b) => tables(b).metaOffset - 1), /front of the meta area/],
  [
    'the prefetch table has a hole',
    'v6/tiny-prefetch.boot',
    (b) => {
      const { offset } = tables(b).extended.prefetchTable;
      b.writeUInt32LE(0, offset);
      return offset;
    },
    /prefetch table: entry 0 hides/,
  ],
  ['a byte behind the chunk table', FULL, set((b) => b.length - 1), /behind the chunk table/],
  [
    'reserved bytes of an inode',
    FULL,
    set(inInode((_, start) => start + 6, anyFile)),
    /reserved bytes of the inode/,
  ],
  [
    'the last reserved byte of an inode',
    FULL,
    set(inInode((_, start) => start + 63, anyFile)),
    /reserved bytes of the inode/,
  ],
  [
    'reserved bytes of xattrs',
    FULL,
    set(inInode(({ xattrOffset }) => xattrOffset + 11, withXattrs)),
    /reserved bytes of the xattrs/,
  ],
  [
    'the name filter of xattrs',
    FULL,
    set(inInode(({ xattrOffset }) => xattrOffset, withXattrs)),
    /reserved bytes of the xattrs/,
  ],
  [
    'the reserved byte of a directory entry',
    FULL,
    set(inInode(({ tailOffset }) => tailOffset + 11, aligned(0))),
    /reserved byte of a directory entry/,
  ],
  [
    'a file is said to be in one piece',
    'v6/small-64k.boot',
    (b) => {
      const inode = inInode(
        (_, start) => start,
        ({ chunkCount }) => chunkCount > 1,
      )(b);
      b.writeUInt32LE(0x2f, inode + 16);
      const bootstrap = parseBootstrap(b);
      for (const { inode: file } of walk(bootstrap)) {
        if (tables(b).metaOffset + file.nid * 32 !== inode) continue;
        b.writeUInt32LE(b.readUInt32LE(file.dataOffset + 12) + 1, file.dataOffset + 12);
      }
      return inode + 16;
    },
    /does not follow the one before/,
  ],
  ['bytes that belong to nothing', FULL, set((b) => tables(b).metaOffset + 40), /belong to nothing/],
  ['unknown flags of a row', FULL, at(set(inRow(36), 0x31), row), /unknown flags/],
  [
    'a row for a hole',
    FULL,
    at((b) => b.writeUInt8(b.readUInt8(inRow(36)(b)) | 2, inRow(36)(b)), row),
    /hole/,
  ],
  [
    'an encrypted row in a blob in the clear',
    FULL,
    at((b) => b.writeUInt8(b.readUInt8(inRow(36)(b)) | 4, inRow(36)(b)), row),
    /ENCRYPTED/,
  ],
  [
    'a CRC without its flag',
    FULL,
    at((b) => b.writeUInt8(b.readUInt8(inRow(36)(b)) & ~0x10, inRow(36)(b)), row),
    /without the flag HAS_CRC32/,
  ],
  ['a flag without a CRC', FULL, at((b) => b.writeUInt32LE(0, inRow(76)(b)), row), /CRC 0 with/],
  ['a row of 0 bytes', FULL, at((b) => b.writeUInt32LE(0, inRow(44)(b)), row), /chunk of 0 bytes/],
  [
    'a row of too many bytes',
    FULL,
    at((b) => b.writeUInt32LE(0x1000000, inRow(44)(b)), row),
    /chunk of 16777216 bytes/,
  ],
  ['a decoded offset inside of a block', FULL, at(set(inRow(56), 9), row), /decoded offset/],
  ['a file offset inside of a chunk', FULL, at(set(inRow(64), 9), row), /file offset/],
];

function faultsOf(bytes: Buffer): readonly Fault[] {
  const faults = createFaultList();
  const bootstrap = parseBootstrap(bytes, 'changed');
  checkTables(bytes, 'changed', faults);
  checkMetaArea(bytes, bootstrap, faults);
  checkChunkTable(openChunkTable(bytes, 'changed'), bootstrap, faults);
  return faults.faults;
}

it.each(BOOTSTRAPS)('%s has no fault', (file) => {
  expect(faultsOf(golden(file))).toEqual([]);
});

it.each(cases)('a fault, with its offset: %s', (_, file, change, message) => {
  const bytes = Buffer.from(golden(file));
  const offset = change(bytes);
  expect(faultsOf(bytes)).toContainEqual(
    expect.objectContaining({ part: 'bootstrap', message: expect.stringMatching(message), offset }),
  );
});

it('finds two inodes that lie over each other', () => {
  const bytes = Buffer.from(golden(FULL));
  const isSmall = ({ chunkCount }: DiskInode) => chunkCount === 1;
  const start = inInode((_, at) => at, isSmall)(bytes);
  // A size that needs ten chunks, whose index reaches into the next inode.
  bytes.writeUInt32LE(10 << 20, start + 8);
  expect(faultsOf(bytes).map(({ message }) => message)).toContainEqual(
    expect.stringMatching(/^inode \d+ lies over inode \d+$/),
  );
});

/** A blob of three chunks with the functions that `checkToc` wants. */
function makeBlob() {
  const builder = new BlobBuilder({ chunkSize: 4096, compressor: 'none', digester: 'sha256' });
  const raws = [1, 2, 3].map((i) => Buffer.alloc(100 * i, i));
  const data = raws.map((raw) => {
    const input = { digest: sha256(raw), crc: crc32c(raw), size: raw.length };
    return builder.addChunk({ ...input, stored: raw, compressed: false }).bytes;
  });
  const end = builder.finish().bytes;
  return { bytes: Buffer.concat([...data, end]), fields: builder.ref.fields, digests: raws.map(sha256) };
}

async function tocFaults(change: (bytes: Buffer) => void): Promise<readonly Fault[]> {
  const { bytes, fields, digests } = makeBlob();
  change(bytes);
  const faults = createFaultList();
  const blob = { ...fields, index: 0, tocSize: 0 };
  const read = async (offset: number, length: number) => bytes.subarray(offset, offset + length);
  await checkToc({ blob, size: bytes.length, read, digestOf: (i) => digests[i] }, faults);
  return faults.faults;
}

it('finds no fault in the sections of a good blob', async () => {
  expect(await tocFaults(() => {})).toEqual([]);
});

const toc = (bytes: Buffer) => bytes.length - 512 - 4 * 128;
const DATA_SIZE = 600;

it.each<[string, (bytes: Buffer) => number, RegExp]>([
  [
    'the tar header behind the data',
    (b) => set(DATA_SIZE + 20)(b) - 20,
    /tar header behind section image.blob/,
  ],
  ['a reserved byte of an entry', (b) => set(toc(b) + 4)(b), /reserved bytes of image.blob/],
  ['the last reserved bytes of an entry', (b) => set(toc(b) + 128 + 80)(b), /reserved bytes of blob.meta/],
  ['a name that is none', (b) => set(toc(b) + 128 * 3 + 8, 0x78)(b) - 8, /xlob.digest is unknown/],
  ['a section that begins elsewhere', (b) => set(toc(b) + 56, 1)(b) && 1, /image.blob begins at 1/],
  [
    'a reserved byte of the context header',
    (b) => set(DATA_SIZE + 512 + 72 + 3000)(b),
    /context header must be 0/,
  ],
  [
    'a digest in the blob is another',
    (b) => {
      const offset = b.readUInt32LE(toc(b) + 128 * 3 + 56) + 32;
      b[offset]! ^= 1;
      return offset;
    },
    /blob.digest and the bootstrap do not agree/,
  ],
  [
    'a section twice',
    (b) => {
      b.copyWithin(toc(b) + 128 * 3, toc(b) + 128 * 2, toc(b) + 128 * 3);
      return toc(b) + 128 * 3;
    },
    /blob.meta.header is out of order/,
  ],
])('a fault, with its offset: %s', async (_, change, message) => {
  let offset = 0;
  const faults = await tocFaults((bytes) => {
    offset = change(bytes);
  });
  expect(faults).toContainEqual(
    expect.objectContaining({ part: 'blob', message: expect.stringMatching(message), offset }),
  );
});
