import { readU64, writeU64 } from './binary.js';

/** Where the EROFS superblock stands in a bootstrap, and its bytes (EROFS on-disk format). */
export const SUPERBLOCK_OFFSET = 1024;
export const SUPERBLOCK_SIZE = 128;

export const EROFS_MAGIC = 0xe0f5e1e2;
/** Compatible feature bit by which nydusd knows a RAFS v6 image. */
export const RAFS_V6_COMPAT = 0x40000000;
/** CHUNKED_FILE | DEVICE_TABLE: the only incompatible features of RAFS v6, and both always set. */
export const RAFS_V6_INCOMPAT = 0xc;
/** Position of the device table in units of 128 bytes: behind both superblocks. */
export const DEVICE_TABLE_SLOT = 11;

const MAGIC = 0;
const CHECKSUM = 4;
const FEATURE_COMPAT = 8;
const BLOCK_BITS = 12;
const EXTRA_SLOTS = 13;
const ROOT_NID = 14;
const INOS = 16;
const EPOCH = 24;
const EPOCH_NSEC = 32;
const BLOCKS = 36;
const META_BLOCK = 40;
const XATTR_BLOCK = 44;
const UUID = 48;
const VOLUME_NAME = 64;
const FEATURE_INCOMPAT = 80;
const COMPRESSION = 84;
const EXTRA_DEVICES = 86;
const DEVICE_SLOT = 88;
const DIRECTORY_BLOCK_BITS = 90;

/** The EROFS superblock. Numbers that RAFS requires to be constant are read and checked, too. */
export interface Superblock {
  magic: number;
  checksum: number;
  featureCompat: number;
  /** log2 of the block size: 12, in tarfs 9. */
  blockBits: number;
  extraSlots: number;
  rootNid: number;
  /** Names in the image, the root included. */
  inos: number;
  epoch: number;
  epochNsec: number;
  /** Blocks of all devices together. */
  blocks: number;
  /** Block number of the meta area. */
  metaBlock: number;
  xattrBlock: number;
  uuid: Buffer;
  volumeName: Buffer;
  featureIncompat: number;
  compression: number;
  extraDevices: number;
  deviceSlot: number;
  directoryBlockBits: number;
}

/** A superblock with the constants of RAFS v6 and the given fields. */
export function rafsSuperblock(
  fields: Pick<Superblock, 'rootNid' | 'inos' | 'blocks' | 'metaBlock' | 'extraDevices'>,
): Superblock {
  return {
    magic: EROFS_MAGIC,
    checksum: 0,
    featureCompat: RAFS_V6_COMPAT,
    blockBits: 12,
    extraSlots: 0,
    epoch: 0,
    epochNsec: 0,
    xattrBlock: 0,
    uuid: Buffer.alloc(16),
    volumeName: Buffer.alloc(16),
    featureIncompat: RAFS_V6_INCOMPAT,
    compression: 0,
    deviceSlot: DEVICE_TABLE_SLOT,
    directoryBlockBits: 0,
    ...fields,
  };
}

/** Writes 128 bytes at `offset` of `target`, which must be zero there. */
export function encodeSuperblock(sb: Superblock, target: Buffer, offset: number): void {
  target.writeUInt32LE(sb.magic, offset + MAGIC);
  target.writeUInt32LE(sb.checksum, offset + CHECKSUM);
  target.writeUInt32LE(sb.featureCompat, offset + FEATURE_COMPAT);
  target.writeUInt8(sb.blockBits, offset + BLOCK_BITS);
  target.writeUInt8(sb.extraSlots, offset + EXTRA_SLOTS);
  target.writeUInt16LE(sb.rootNid, offset + ROOT_NID);
  writeU64(target, sb.inos, offset + INOS);
  writeU64(target, sb.epoch, offset + EPOCH);
  target.writeUInt32LE(sb.epochNsec, offset + EPOCH_NSEC);
  target.writeUInt32LE(sb.blocks, offset + BLOCKS);
  target.writeUInt32LE(sb.metaBlock, offset + META_BLOCK);
  target.writeUInt32LE(sb.xattrBlock, offset + XATTR_BLOCK);
  sb.uuid.copy(target, offset + UUID, 0, 16);
  sb.volumeName.copy(target, offset + VOLUME_NAME, 0, 16);
  target.writeUInt32LE(sb.featureIncompat, offset + FEATURE_INCOMPAT);
  target.writeUInt16LE(sb.compression, offset + COMPRESSION);
  target.writeUInt16LE(sb.extraDevices, offset + EXTRA_DEVICES);
  target.writeUInt16LE(sb.deviceSlot, offset + DEVICE_SLOT);
  target.writeUInt8(sb.directoryBlockBits, offset + DIRECTORY_BLOCK_BITS);
}

/** Reads the 128 bytes at `offset`. */
export function decodeSuperblock(bytes: Buffer, offset: number): Superblock {
  return {
    magic: bytes.readUInt32LE(offset + MAGIC),
    checksum: bytes.readUInt32LE(offset + CHECKSUM),
    featureCompat: bytes.readUInt32LE(offset + FEATURE_COMPAT),
    blockBits: bytes.readUInt8(offset + BLOCK_BITS),
    extraSlots: bytes.readUInt8(offset + EXTRA_SLOTS),
    rootNid: bytes.readUInt16LE(offset + ROOT_NID),
    inos: readU64(bytes, offset + INOS),
    epoch: readU64(bytes, offset + EPOCH),
    epochNsec: bytes.readUInt32LE(offset + EPOCH_NSEC),
    blocks: bytes.readUInt32LE(offset + BLOCKS),
    metaBlock: bytes.readUInt32LE(offset + META_BLOCK),
    xattrBlock: bytes.readUInt32LE(offset + XATTR_BLOCK),
    uuid: Buffer.copyBytesFrom(bytes, offset + UUID, 16),
    volumeName: Buffer.copyBytesFrom(bytes, offset + VOLUME_NAME, 16),
    featureIncompat: bytes.readUInt32LE(offset + FEATURE_INCOMPAT),
    compression: bytes.readUInt16LE(offset + COMPRESSION),
    extraDevices: bytes.readUInt16LE(offset + EXTRA_DEVICES),
    deviceSlot: bytes.readUInt16LE(offset + DEVICE_SLOT),
    directoryBlockBits: bytes.readUInt8(offset + DIRECTORY_BLOCK_BITS),
  };
}
