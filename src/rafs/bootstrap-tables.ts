import { RafterError } from '../errors.js';
import { malformed } from './binary.js';
import { checkBlobEntry } from './blob-check.js';
import { BLOB_ENTRY_SIZE, type BlobEntry, decodeBlobEntry } from './blob-entry.js';
import { CHUNK_TABLE_ENTRY_SIZE } from './chunk-table.js';
import { DEVICE_SLOT_SIZE, DEVICE_TABLE_OFFSET, type DeviceSlot, decodeDeviceSlot } from './device-slot.js';
import {
  decodeExtendedSuperblock,
  EXTENDED_OFFSET,
  type ExtendedSuperblock,
  type TableRange,
} from './extended-superblock.js';
import { decodeFlags, RafsFlag } from './flags.js';
import { BLOCK_SIZE, MAX_BLOBS, MAX_CHUNK_SIZE, MIN_CHUNK_SIZE } from './limits.js';
import { decodePrefetchTable, PREFETCH_ENTRY_SIZE } from './prefetch-table.js';
import {
  DEVICE_TABLE_SLOT,
  decodeSuperblock,
  EROFS_MAGIC,
  RAFS_V6_COMPAT,
  RAFS_V6_INCOMPAT,
  SUPERBLOCK_OFFSET,
  type Superblock,
} from './superblock.js';
import { isRafsV5 } from './v5/superblock.js';

const BLOCK_BITS = 12;
const TARFS_BLOCK_BITS = 9;

/** Everything in front of the meta area, and the chunk table's place behind it. */
export interface BootstrapTables {
  superblock: Superblock;
  extended: ExtendedSuperblock;
  blockSize: number;
  /** Byte offset of the meta area, from which nids count. */
  metaOffset: number;
  devices: DeviceSlot[];
  blobs: BlobEntry[];
  prefetchNids: number[];
}

/**
 * Reads and checks the superblocks and tables of a RAFS v6 bootstrap by the rules that nydusd and the kernel apply.
 * Throws MALFORMED naming field and offset, LIMIT_EXCEEDED, or UNSUPPORTED for RAFS v5 and unknown features.
 */
export function readBootstrapTables(bytes: Buffer, name: string): BootstrapTables {
  const superblock = readSuperblock(bytes, name);
  const blockSize = 2 ** superblock.blockBits;
  const metaOffset = superblock.metaBlock * blockSize;
  if (bytes.length % blockSize !== 0) {
    throw new RafterError('MALFORMED', `${name}: ${bytes.length} bytes are not a multiple of ${blockSize}`);
  }
  if (metaOffset > bytes.length) {
    throw malformed(
      name,
      'meta_blkaddr',
      SUPERBLOCK_OFFSET + 40,
      `${superblock.metaBlock} is outside the file`,
    );
  }
  const extended = readExtended(bytes, superblock, name);
  const blobs = readBlobTable(bytes, extended, name);
  return {
    superblock,
    extended,
    blockSize,
    metaOffset,
    devices: readDevices(bytes, superblock, blobs, name),
    blobs,
    prefetchNids:
      extended.prefetchTable.offset === 0
        ? []
        : decodePrefetchTable(bytes, extended.prefetchTable.offset, extended.prefetchTable.size),
  };
}

function readSuperblock(bytes: Buffer, name: string): Superblock {
  if (isRafsV5(bytes))
    throw new RafterError(
      'UNSUPPORTED',
      `${name}: is a RAFS v5 bootstrap, where only one of RAFS v6 will do`,
    );
  if (bytes.length < BLOCK_SIZE) {
    throw new RafterError('MALFORMED', `${name}: ${bytes.length} bytes are too few for a RAFS v6 bootstrap`);
  }
  const sb = decodeSuperblock(bytes, SUPERBLOCK_OFFSET);
  const require = (good: boolean, field: string, offset: number, value: number) => {
    if (!good)
      throw malformed(name, `superblock ${field}`, SUPERBLOCK_OFFSET + offset, `0x${value.toString(16)}`);
  };
  require(sb.magic === EROFS_MAGIC, 'magic', 0, sb.magic);
  require(sb.checksum === 0, 'checksum', 4, sb.checksum);
  require((sb.featureCompat & RAFS_V6_COMPAT) !== 0, 'feature_compat', 8, sb.featureCompat);
  require([BLOCK_BITS, TARFS_BLOCK_BITS].includes(sb.blockBits), 'blkszbits', 12, sb.blockBits);
  require(sb.extraSlots === 0, 'sb_extslots', 13, sb.extraSlots);
  require(sb.rootNid !== 0, 'root_nid', 14, sb.rootNid);
  require(sb.inos !== 0 && Number.isSafeInteger(sb.inos), 'inos', 16, sb.inos);
  require(sb.xattrBlock === 0, 'xattr_blkaddr', 44, sb.xattrBlock);
  require(sb.featureIncompat === RAFS_V6_INCOMPAT, 'feature_incompat', 80, sb.featureIncompat);
  require(sb.compression === 0, 'available_compr_algs', 84, sb.compression);
  require(sb.deviceSlot === DEVICE_TABLE_SLOT, 'devt_slotoff', 88, sb.deviceSlot);
  require(sb.directoryBlockBits === 0, 'dirblkbits', 90, sb.directoryBlockBits);
  return sb;
}

function readExtended(bytes: Buffer, sb: Superblock, name: string): ExtendedSuperblock {
  const ext = decodeExtendedSuperblock(bytes, EXTENDED_OFFSET);
  const flags = decodeFlags(ext.flags);
  if (typeof flags === 'string') throw malformed(name, 'flags', EXTENDED_OFFSET, flags);
  const tarfs = (ext.flags & RafsFlag.TARFS_MODE) !== 0;
  if (tarfs !== (sb.blockBits === TARFS_BLOCK_BITS)) {
    throw malformed(name, 'flags', EXTENDED_OFFSET, `tarfs mode does not fit blkszbits ${sb.blockBits}`);
  }
  const powerOfTwo = (ext.chunkSize & (ext.chunkSize - 1)) === 0;
  if (!powerOfTwo || ext.chunkSize < MIN_CHUNK_SIZE || ext.chunkSize > MAX_CHUNK_SIZE) {
    throw malformed(name, 'chunk_size', EXTENDED_OFFSET + 20, `${ext.chunkSize}`);
  }
  checkRange(bytes, name, 'blob_table', ext.blobTable, { unit: BLOB_ENTRY_SIZE, alignment: BLOCK_SIZE });
  checkRange(bytes, name, 'chunk_table', ext.chunkTable, {
    unit: CHUNK_TABLE_ENTRY_SIZE,
    alignment: BLOCK_SIZE,
  });
  // Empty images of old builders have a prefetch table with a size but no offset.
  const prefetch = ext.prefetchTable.offset === 0 ? { offset: 0, size: 0 } : ext.prefetchTable;
  checkRange(bytes, name, 'prefetch_table', prefetch, { unit: PREFETCH_ENTRY_SIZE, alignment: 8 });
  const ranges = [ext.blobTable, ext.chunkTable, prefetch].filter((range) => range.size > 0);
  ranges.sort((a, b) => a.offset - b.offset);
  ranges.forEach((range, i) => {
    const before = ranges[i - 1];
    if (before && before.offset + before.size > range.offset) {
      throw malformed(name, 'tables', range.offset, 'overlap');
    }
  });
  return ext;
}

/** Tables lie behind the first 4096 bytes and inside the file. An empty one may stand anywhere. */
function checkRange(
  bytes: Buffer,
  name: string,
  field: string,
  { offset, size }: TableRange,
  { unit, alignment }: { unit: number; alignment: number },
): void {
  if (size === 0) return;
  if (size % unit !== 0)
    throw malformed(name, `${field}_size`, offset, `${size} is not a multiple of ${unit}`);
  if (offset < BLOCK_SIZE || offset % alignment !== 0 || offset + size > bytes.length) {
    throw malformed(name, field, offset, `range of ${size} bytes in a file of ${bytes.length}`);
  }
}

function readBlobTable(bytes: Buffer, ext: ExtendedSuperblock, name: string): BlobEntry[] {
  const count = ext.blobTable.size / BLOB_ENTRY_SIZE;
  if (count > MAX_BLOBS)
    throw new RafterError('LIMIT_EXCEEDED', `${name}: ${count} blobs; at most ${MAX_BLOBS}`);
  const tarfs = (ext.flags & RafsFlag.TARFS_MODE) !== 0;
  return Array.from({ length: count }, (_, index) => {
    const offset = ext.blobTable.offset + index * BLOB_ENTRY_SIZE;
    const entry = decodeBlobEntry(bytes, offset, name);
    checkBlobEntry(entry, { name, offset, index, chunkSize: ext.chunkSize, tarfs });
    return entry;
  });
}

function readDevices(bytes: Buffer, sb: Superblock, blobs: readonly BlobEntry[], name: string): DeviceSlot[] {
  if (sb.extraDevices !== blobs.length) {
    throw malformed(
      name,
      'extra_devices',
      SUPERBLOCK_OFFSET + 86,
      `${sb.extraDevices} for ${blobs.length} blobs`,
    );
  }
  const end = DEVICE_TABLE_OFFSET + blobs.length * DEVICE_SLOT_SIZE;
  if (end > bytes.length) throw malformed(name, 'device table', DEVICE_TABLE_OFFSET, 'ends outside the file');
  const tags = new Set<string>();
  return blobs.map((_, i) => {
    const offset = DEVICE_TABLE_OFFSET + i * DEVICE_SLOT_SIZE;
    const slot = decodeDeviceSlot(bytes, offset);
    if (slot.blocks === 0) throw malformed(name, 'device slot blocks', offset, '0');
    if (tags.has(slot.tag)) throw malformed(name, 'device slot tag', offset, `${slot.tag} is there twice`);
    tags.add(slot.tag);
    return slot;
  });
}
