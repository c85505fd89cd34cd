import { readPaddedText } from './binary.js';
import { BLOB_ID_SIZE } from './blob-entry.js';
import { alignUp } from './limits.js';
import { DEVICE_TABLE_SLOT } from './superblock.js';

/** Bytes of a device slot, and where the table begins (EROFS on-disk format). */
export const DEVICE_SLOT_SIZE = 128;
export const DEVICE_TABLE_OFFSET = DEVICE_TABLE_SLOT * DEVICE_SLOT_SIZE;

const TAG = 0;
const BLOCKS = 64;
const MAPPED_BLOCK = 68;

/** Devices begin at multiples of this in the flat address space that the kernel uses without `device=` options. */
const FLAT_ALIGNMENT = 0x80000;

/** One blob as the kernel sees it: EROFS device `position + 1`. */
export interface DeviceSlot {
  /** The blob id. */
  tag: string;
  /** Blocks of the decoded blob. */
  blocks: number;
  /** First block of the blob in the flat address space. */
  mappedBlock: number;
}

/** Writes 128 bytes at `offset` of `target`, which must be zero there. */
export function encodeDeviceSlot(slot: DeviceSlot, target: Buffer, offset: number): void {
  target.write(slot.tag, offset + TAG, BLOB_ID_SIZE, 'latin1');
  target.writeUInt32LE(slot.blocks, offset + BLOCKS);
  target.writeUInt32LE(slot.mappedBlock, offset + MAPPED_BLOCK);
}

/** Reads the 128 bytes at `offset`. */
export function decodeDeviceSlot(bytes: Buffer, offset: number): DeviceSlot {
  return {
    tag: readPaddedText(bytes, offset + TAG, BLOB_ID_SIZE),
    blocks: bytes.readUInt32LE(offset + BLOCKS),
    mappedBlock: bytes.readUInt32LE(offset + MAPPED_BLOCK),
  };
}

/**
 * First block of each device in the flat address space: behind the bootstrap of `bootstrapSize` bytes, in order, each at
 * a multiple of 512 KiB. `blocks` are the devices' sizes in blocks of `blockSize` bytes.
 */
export function mapDevices(bootstrapSize: number, blocks: readonly number[], blockSize: number): number[] {
  let position = bootstrapSize;
  return blocks.map((count) => {
    const mapped = alignUp(position, FLAT_ALIGNMENT) / blockSize;
    position = (mapped + count) * blockSize;
    return mapped;
  });
}
