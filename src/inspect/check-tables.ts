import { BLOB_ENTRY_SIZE } from '../rafs/blob-entry.js';
import { BlobFeature, hasFeature } from '../rafs/blob-features.js';
import { type BootstrapTables, readBootstrapTables } from '../rafs/bootstrap-tables.js';
import { DEVICE_SLOT_SIZE, DEVICE_TABLE_OFFSET } from '../rafs/device-slot.js';
import { EXTENDED_OFFSET, EXTENDED_SIZE } from '../rafs/extended-superblock.js';
import { RafsFlag } from '../rafs/flags.js';
import { PREFETCH_ENTRY_SIZE } from '../rafs/prefetch-table.js';
import { RAFS_V6_COMPAT, SUPERBLOCK_OFFSET, SUPERBLOCK_SIZE } from '../rafs/superblock.js';
import type { FaultList } from './faults.js';
import { findNonZero } from './zeros.js';

/** EROFS feature bit that the superblock's checksum is to be verified, which RAFS leaves at 0. */
const CHECKSUM_COMPAT = 0x1;
/** Where unused fields begin: in the EROFS superblock, the RAFS one, a device slot, a blob table entry. */
const SUPERBLOCK_RESERVED = 91;
const EXTENDED_RESERVED = 52;
const SLOT_RESERVED = 72;
const ENTRY_RESERVED = 220;
const ENTRY_META_SIZE = 200;
const ENTRY_IV = 208;
/** Offsets of fields for messages. */
const FEATURE_COMPAT = 8;
const BLOCKS = 36;
const SLOT_BLOCKS = 64;
const SLOT_MAPPED = 68;
/** `blocks` of old builders, whatever the truth. */
const HISTORICAL_BLOCKS = 4096;

/**
 * Reports what readers of a RAFS v6 bootstrap do not look at: fields and gaps that must be zero, the device table against the blob
 * table, flags against blobs, holes in the prefetch table. `bytes` is what `BootstrapV6.parse` has accepted.
 */
export function checkTables(bytes: Buffer, name: string, faults: FaultList): void {
  const tables = readBootstrapTables(bytes, name);
  checkSuperblock(tables, faults);
  checkFlags(tables, faults);
  checkDevices(tables, bytes.length, faults);
  checkBlobTable(tables, bytes, faults);
  checkPrefetchTable(tables, faults);
  checkReserved(tables, bytes, faults);
}

function checkSuperblock({ superblock, devices }: BootstrapTables, faults: FaultList): void {
  if ((superblock.featureCompat & CHECKSUM_COMPAT) !== 0) {
    const offset = SUPERBLOCK_OFFSET + FEATURE_COMPAT;
    faults.add('bootstrap', 'superblock: feature_compat asks for a checksum, which there is none of', {
      offset,
    });
  } else if (superblock.featureCompat !== RAFS_V6_COMPAT) {
    const bits = (superblock.featureCompat & ~RAFS_V6_COMPAT) >>> 0;
    faults.warnings.push(`superblock: feature_compat has the bits 0x${bits.toString(16)}`);
  }
  const blocks = devices.reduce((sum, device) => sum + device.blocks, 0);
  if (superblock.blocks === blocks) return;
  const message = `superblock: ${superblock.blocks} blocks, but the devices have ${blocks}`;
  if (superblock.blocks === HISTORICAL_BLOCKS) faults.warnings.push(message);
  else faults.add('bootstrap', message, { offset: SUPERBLOCK_OFFSET + BLOCKS });
}

function checkFlags({ extended, blobs }: BootstrapTables, faults: FaultList): void {
  const pairs: [number, string, boolean][] = [
    [
      RafsFlag.INLINED_CHUNK_DIGEST,
      'INLINED_CHUNK_DIGEST',
      blobs.every(({ features }) => hasFeature(features, BlobFeature.INLINED_CHUNK_DIGEST)),
    ],
    [
      RafsFlag.ENCRYPTION_AES_128_XTS,
      'ENCRYPTION_AES_128_XTS',
      blobs.some(({ cipher }) => cipher !== undefined),
    ],
  ];
  for (const [bit, name, expected] of pairs) {
    if (((extended.flags & bit) !== 0) === expected) continue;
    const is = expected ? 'not set' : 'set';
    faults.add('bootstrap', `flags: ${name} is ${is}, which is not what the blob table says`, {
      offset: EXTENDED_OFFSET,
    });
  }
}

function checkDevices(tables: BootstrapTables, size: number, faults: FaultList): void {
  const { devices, blobs, blockSize } = tables;
  let end = size / blockSize;
  for (const [i, { tag, blocks, mappedBlock }] of devices.entries()) {
    const { id, uncompressedSize } = blobs[i]!;
    const at = DEVICE_TABLE_OFFSET + i * DEVICE_SLOT_SIZE;
    const add = (problem: string, offset: number) =>
      faults.add('bootstrap', `device slot ${i}: ${problem}`, { blob: id, offset });
    if (tag !== id) add(`tag ${tag}, but the blob table says ${id}`, at);
    const expected = Math.ceil(uncompressedSize / blockSize);
    if (blocks !== expected) add(`${blocks} blocks, but the blob has ${expected}`, at + SLOT_BLOCKS);
    if (mappedBlock < end)
      add(`mapped to block ${mappedBlock}, where something else is up to ${end}`, at + SLOT_MAPPED);
    end = Math.max(end, mappedBlock + blocks);
  }
}

function checkBlobTable({ blobs, extended }: BootstrapTables, bytes: Buffer, faults: FaultList): void {
  for (const [i, { id, features, cipher }] of blobs.entries()) {
    const at = extended.blobTable.offset + i * BLOB_ENTRY_SIZE;
    const add = (field: string, offset: number) =>
      faults.add('bootstrap', `blob table entry ${i}: ${field} must be 0`, { blob: id, offset });
    if (cipher) continue;
    if (!hasFeature(features, BlobFeature.SEPARATE) && bytes.readBigUInt64LE(at + ENTRY_META_SIZE) !== 0n)
      add('blob_meta_size', at + ENTRY_META_SIZE);
    if (bytes.readBigUInt64LE(at + ENTRY_IV) !== 0n) add('cipher_iv', at + ENTRY_IV);
  }
}

/** Readers stop at an entry of 0. */
function checkPrefetchTable({ extended, prefetchNids }: BootstrapTables, faults: FaultList): void {
  const { offset, size } = extended.prefetchTable;
  if (offset === 0 || size === prefetchNids.length * PREFETCH_ENTRY_SIZE) return;
  const at = offset + prefetchNids.length * PREFETCH_ENTRY_SIZE;
  const lost = (offset + size - at) / PREFETCH_ENTRY_SIZE;
  faults.add('bootstrap', `prefetch table: entry 0 hides ${lost} of ${size / PREFETCH_ENTRY_SIZE} entries`, {
    offset: at,
  });
}

function checkReserved(tables: BootstrapTables, bytes: Buffer, faults: FaultList): void {
  const { extended, blobs, metaOffset } = tables;
  const devicesEnd = DEVICE_TABLE_OFFSET + blobs.length * DEVICE_SLOT_SIZE;
  const zeros: [string, number, number][] = [
    ['the first 1024 bytes', 0, SUPERBLOCK_OFFSET],
    [
      'superblock: reserved bytes',
      SUPERBLOCK_OFFSET + SUPERBLOCK_RESERVED,
      SUPERBLOCK_OFFSET + SUPERBLOCK_SIZE,
    ],
    ['RAFS superblock: reserved bytes', EXTENDED_OFFSET + EXTENDED_RESERVED, EXTENDED_OFFSET + EXTENDED_SIZE],
  ];
  for (const i of blobs.keys()) {
    const slot = DEVICE_TABLE_OFFSET + i * DEVICE_SLOT_SIZE;
    const entry = extended.blobTable.offset + i * BLOB_ENTRY_SIZE;
    zeros.push([`device slot ${i}: reserved bytes`, slot + SLOT_RESERVED, slot + DEVICE_SLOT_SIZE]);
    zeros.push([`blob table entry ${i}: reserved bytes`, entry + ENTRY_RESERVED, entry + BLOB_ENTRY_SIZE]);
  }
  const { blobTable, chunkTable, prefetchTable } = extended;
  if (blobs.length > 0) {
    zeros.push(['what stands in front of the blob table', devicesEnd, blobTable.offset]);
    const end = Math.max(blobTable.offset + blobTable.size, prefetchTable.offset + prefetchTable.size);
    zeros.push(['what stands in front of the meta area', end, metaOffset]);
  }
  if (chunkTable.size > 0)
    zeros.push(['what stands behind the chunk table', chunkTable.offset + chunkTable.size, bytes.length]);
  for (const [what, from, to] of zeros) {
    const offset = findNonZero(bytes, from, to);
    if (offset !== undefined) faults.add('bootstrap', `${what} must be 0`, { offset });
  }
}
