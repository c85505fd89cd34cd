import { RafterError } from '../../errors.js';
import { malformed, readU64 } from '../binary.js';
import type { TableRange } from '../extended-superblock.js';
import { decodeFlags, type FlagChoice } from '../flags.js';
import { MAX_CHUNK_SIZE, MIN_CHUNK_SIZE } from '../limits.js';

/** First word of a RAFS v5 bootstrap, and the second. */
const MAGIC = 0x52414653;
const VERSION = 0x500;
/** Bytes of the superblock, at the start of the file. Everything else lies behind it. */
export const SUPERBLOCK_V5_SIZE = 8192;
/** Structures begin at multiples of this. */
export const V5_ALIGNMENT = 8;
/** Bytes of one entry of the inode table and of the prefetch table. */
export const TABLE_ENTRY_SIZE = 4;
/** Bytes of one entry of the extended blob table. */
export const EXT_BLOB_ENTRY_SIZE = 64;
/** No range of a bootstrap ends beyond this: inode table entries are 32 bits in units of 8 bytes. */
const MAX_FILE_SIZE = 2 ** 35;

const FIELD = {
  VERSION: 4,
  SB_SIZE: 8,
  BLOCK_SIZE: 12,
  FLAGS: 16,
  INODES_COUNT: 24,
  INODE_TABLE_OFFSET: 32,
  PREFETCH_TABLE_OFFSET: 40,
  BLOB_TABLE_OFFSET: 48,
  INODE_TABLE_ENTRIES: 56,
  PREFETCH_TABLE_ENTRIES: 60,
  BLOB_TABLE_SIZE: 64,
  EXT_BLOB_TABLE_ENTRIES: 68,
  EXT_BLOB_TABLE_OFFSET: 72,
} as const;

/** What the superblock of a RAFS v5 bootstrap says; every table is inside the file and overlaps no other. */
export interface SuperblockV5 {
  /** Called block size on disk. */
  chunkSize: number;
  /** `RafsFlag` bits, and what they mean. */
  flags: number;
  choice: FlagChoice;
  /** Distinct inodes: all names of a hard link count once. */
  inodesCount: number;
  /** Names: every name of a hard link has an entry. */
  inodeTable: TableRange;
  prefetchTable: TableRange;
  blobTable: TableRange;
  /** Size 0 in old images. */
  extBlobTable: TableRange;
}

/** True if `bytes` begin as a RAFS v5 bootstrap does. */
export function isRafsV5(bytes: Buffer): boolean {
  return bytes.length >= 8 && bytes.readUInt32LE(0) === MAGIC;
}

/**
 * Reads and checks the superblock by the rules that nydusd applies (RAFS v5 format). Throws MALFORMED naming field and offset,
 * UNSUPPORTED for an older version of RAFS.
 */
export function readSuperblockV5(bytes: Buffer, name: string): SuperblockV5 {
  const version = bytes.readUInt32LE(FIELD.VERSION);
  if (version !== VERSION) {
    throw new RafterError(
      'UNSUPPORTED',
      `${name}: superblock version at offset ${FIELD.VERSION}: RAFS version 0x${version.toString(16)}`,
    );
  }
  if (bytes.length <= SUPERBLOCK_V5_SIZE)
    throw new RafterError('MALFORMED', `${name}: ${bytes.length} bytes are too few for a RAFS v5 bootstrap`);
  const wrong = (field: string, offset: number, problem: string) =>
    malformed(name, `superblock ${field}`, offset, problem);
  const u32 = (offset: number) => bytes.readUInt32LE(offset);
  if (u32(FIELD.SB_SIZE) !== SUPERBLOCK_V5_SIZE) throw wrong('size', FIELD.SB_SIZE, `${u32(FIELD.SB_SIZE)}`);
  const chunkSize = u32(FIELD.BLOCK_SIZE);
  const powerOfTwo = (chunkSize & (chunkSize - 1)) === 0;
  if (!powerOfTwo || chunkSize < MIN_CHUNK_SIZE || chunkSize > MAX_CHUNK_SIZE)
    throw wrong('block_size', FIELD.BLOCK_SIZE, `${chunkSize}`);
  const flags = readU64(bytes, FIELD.FLAGS);
  const choice = decodeFlags(flags);
  if (typeof choice === 'string') throw wrong('flags', FIELD.FLAGS, choice);
  const superblock: SuperblockV5 = {
    chunkSize,
    flags,
    choice,
    inodesCount: readU64(bytes, FIELD.INODES_COUNT),
    inodeTable: {
      offset: readU64(bytes, FIELD.INODE_TABLE_OFFSET),
      size: u32(FIELD.INODE_TABLE_ENTRIES) * TABLE_ENTRY_SIZE,
    },
    prefetchTable: {
      offset: readU64(bytes, FIELD.PREFETCH_TABLE_OFFSET),
      size: u32(FIELD.PREFETCH_TABLE_ENTRIES) * TABLE_ENTRY_SIZE,
    },
    blobTable: { offset: readU64(bytes, FIELD.BLOB_TABLE_OFFSET), size: u32(FIELD.BLOB_TABLE_SIZE) },
    extBlobTable: {
      offset: readU64(bytes, FIELD.EXT_BLOB_TABLE_OFFSET),
      size: u32(FIELD.EXT_BLOB_TABLE_ENTRIES) * EXT_BLOB_ENTRY_SIZE,
    },
  };
  const entries = superblock.inodeTable.size / TABLE_ENTRY_SIZE;
  if (entries === 0) throw wrong('inode_table_entries', FIELD.INODE_TABLE_ENTRIES, '0');
  if (superblock.inodesCount > entries)
    throw wrong('inodes_count', FIELD.INODES_COUNT, `${superblock.inodesCount} for ${entries} names`);
  checkTables(bytes, superblock, wrong);
  return superblock;
}

function checkTables(
  bytes: Buffer,
  { inodeTable, prefetchTable, blobTable, extBlobTable }: SuperblockV5,
  wrong: (field: string, offset: number, problem: string) => RafterError,
): void {
  const tables = [
    { field: 'inode_table', at: FIELD.INODE_TABLE_OFFSET, ...inodeTable },
    { field: 'prefetch_table', at: FIELD.PREFETCH_TABLE_OFFSET, ...prefetchTable },
    { field: 'blob_table', at: FIELD.BLOB_TABLE_OFFSET, ...blobTable },
    { field: 'extended_blob_table', at: FIELD.EXT_BLOB_TABLE_OFFSET, ...extBlobTable },
  ].filter(({ size }) => size > 0);
  for (const { field, at, offset, size } of tables) {
    const inside = offset >= SUPERBLOCK_V5_SIZE && offset < MAX_FILE_SIZE && offset + size <= bytes.length;
    if (!inside || offset % V5_ALIGNMENT !== 0)
      throw wrong(`${field}_offset`, at, `${size} bytes at ${offset} in a file of ${bytes.length}`);
  }
  tables.sort((a, b) => a.offset - b.offset);
  tables.forEach((table, i) => {
    const before = tables[i - 1];
    if (before && before.offset + before.size > table.offset)
      throw wrong(`${table.field}_offset`, table.at, `${table.offset} is inside the ${before.field}`);
  });
}
