import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { decompress } from '../../src/codec/compressor.js';
import { BATCH_CONTEXT_SIZE, decodeBatchContext, encodeBatchContext } from '../../src/rafs/batch-context.js';
import { BLOB_ENTRY_SIZE, decodeBlobEntry, encodeBlobEntry } from '../../src/rafs/blob-entry.js';
import { BlobFeature, hasFeature } from '../../src/rafs/blob-features.js';
import { parseBootstrap } from '../../src/rafs/bootstrap.js';
import { readBootstrapTables } from '../../src/rafs/bootstrap-tables.js';
import {
  CHUNK_ENTRY_SIZE,
  decodeChunkIndexEntry,
  encodeChunkIndexEntry,
} from '../../src/rafs/chunk-index.js';
import { CHUNK_INFO_V1_SIZE, decodeChunkInfoV1, encodeChunkInfoV1 } from '../../src/rafs/chunk-info-v1.js';
import { CHUNK_INFO_V2_SIZE, decodeChunkInfoV2, encodeChunkInfoV2 } from '../../src/rafs/chunk-info-v2.js';
import {
  CHUNK_TABLE_ENTRY_SIZE,
  decodeChunkTableEntry,
  encodeChunkTableEntry,
} from '../../src/rafs/chunk-table.js';
import {
  CONTEXT_HEADER_SIZE,
  decodeContextHeader,
  encodeContextHeader,
} from '../../src/rafs/context-header.js';
import {
  DEVICE_SLOT_SIZE,
  DEVICE_TABLE_OFFSET,
  decodeDeviceSlot,
  encodeDeviceSlot,
} from '../../src/rafs/device-slot.js';
import { encodeDirectory } from '../../src/rafs/directory-layout.js';
import {
  decodeExtendedSuperblock,
  EXTENDED_OFFSET,
  EXTENDED_SIZE,
  encodeExtendedSuperblock,
} from '../../src/rafs/extended-superblock.js';
import { decodeInode, EXTENDED_INODE_SIZE, encodeInode } from '../../src/rafs/inode.js';
import { direntTypeOf } from '../../src/rafs/inode-type.js';
import { decodePrefetchTable, encodePrefetchTable } from '../../src/rafs/prefetch-table.js';
import {
  decodeSuperblock,
  encodeSuperblock,
  SUPERBLOCK_OFFSET,
  SUPERBLOCK_SIZE,
} from '../../src/rafs/superblock.js';
import { decodeTarFooter, encodeTarFooter, TAR_FOOTER_SIZE } from '../../src/rafs/tar-footer.js';
import { encodeToc, findToc, TOC_TAIL_SIZE } from '../../src/rafs/toc.js';
import { decodeTocEntry, encodeTocEntry, TOC_ENTRY_SIZE } from '../../src/rafs/toc-entry.js';
import { walk } from '../../src/rafs/walk.js';
import { encodeXattrs } from '../../src/rafs/xattr.js';
import { decodeZranContext, encodeZranContext, ZRAN_CONTEXT_SIZE } from '../../src/rafs/zran-context.js';
import { BOOTSTRAPS, golden } from './golden.js';

const WITH_TARFS = [...BOOTSTRAPS, 'ref/tiny-tarfs.boot'];

/** Decodes the `size` bytes at `offset`, encodes the result and expects the very same bytes. */
function expectSame<T>(
  bytes: Buffer,
  { offset, size }: { offset: number; size: number },
  decode: (bytes: Buffer, offset: number, name: string) => T,
  encode: (value: T, target: Buffer, offset: number) => void,
): T {
  const value = decode(bytes, offset, 'golden');
  const target = Buffer.alloc(size + 8);
  encode(value, target, 4);
  expect(target.subarray(4, 4 + size).toString('hex')).toBe(
    bytes.subarray(offset, offset + size).toString('hex'),
  );
  expect(target.readUInt32LE(0) + target.readUInt32LE(4 + size), 'writes nothing outside').toBe(0);
  return value;
}

describe('decode, then encode, of every structure in a golden bootstrap', () => {
  test.each(WITH_TARFS)('%s: superblocks and tables', (file) => {
    const bytes = golden(file);
    expectSame(
      bytes,
      { offset: SUPERBLOCK_OFFSET, size: SUPERBLOCK_SIZE },
      decodeSuperblock,
      encodeSuperblock,
    );
    expectSame(
      bytes,
      { offset: EXTENDED_OFFSET, size: EXTENDED_SIZE },
      decodeExtendedSuperblock,
      encodeExtendedSuperblock,
    );
    const { extended, blobs } = readBootstrapTables(bytes, file);
    blobs.forEach((_, i) => {
      const slot = { offset: DEVICE_TABLE_OFFSET + i * DEVICE_SLOT_SIZE, size: DEVICE_SLOT_SIZE };
      expectSame(bytes, slot, decodeDeviceSlot, encodeDeviceSlot);
      const entry = { offset: extended.blobTable.offset + i * BLOB_ENTRY_SIZE, size: BLOB_ENTRY_SIZE };
      expectSame(bytes, entry, decodeBlobEntry, encodeBlobEntry);
    });
    for (let at = 0; at < extended.chunkTable.size; at += CHUNK_TABLE_ENTRY_SIZE) {
      const entry = { offset: extended.chunkTable.offset + at, size: CHUNK_TABLE_ENTRY_SIZE };
      expectSame(bytes, entry, decodeChunkTableEntry, encodeChunkTableEntry);
    }
    const { offset, size } = extended.prefetchTable;
    expectSame(bytes, { offset, size }, () => decodePrefetchTable(bytes, offset, size), encodePrefetchTable);
  });

  test.each(WITH_TARFS)('%s: inodes, xattrs, chunk indexes', (file) => {
    const bytes = golden(file);
    const bootstrap = parseBootstrap(bytes, file);
    for (const { inode } of walk(bootstrap)) {
      const head = { offset: inode.xattrOffset - EXTENDED_INODE_SIZE, size: EXTENDED_INODE_SIZE };
      expectSame(bytes, head, decodeInode, encodeInode);
      if (inode.hasXattrs) {
        const area = { offset: inode.xattrOffset, size: inode.xattrSize };
        expectSame(bytes, area, () => bootstrap.xattrs(inode), encodeXattrs);
      }
      for (let k = 0; k < inode.chunkCount; k++) {
        const entry = { offset: inode.dataOffset + k * CHUNK_ENTRY_SIZE, size: CHUNK_ENTRY_SIZE };
        expectSame(bytes, entry, decodeChunkIndexEntry, encodeChunkIndexEntry);
      }
    }
  });

  test.each(BOOTSTRAPS)('%s: directories', (file) => {
    const bytes = golden(file);
    const bootstrap = parseBootstrap(bytes, file);
    for (const { inode } of walk(bootstrap)) {
      if (inode.type !== 'dir') continue;
      const entries = [...bootstrap.readdir(inode)].map(({ name, nid, type }) => ({
        name,
        nid,
        type: direntTypeOf(type),
      }));
      const target = Buffer.alloc(Math.ceil(inode.size / 4096) * 4096);
      const names = entries.map(({ name }) => name.toString('latin1'));
      encodeDirectory(names, target, { entry: (i) => entries[i]!, offsetOf: (block) => block * 4096 });
      const tail = inode.tailOffset < 0 ? 0 : inode.size % 4096;
      const stored = Buffer.concat([
        bytes.subarray(inode.dataOffset, inode.dataOffset + inode.size - tail),
        bytes.subarray(inode.tailOffset, inode.tailOffset + tail),
      ]);
      expect(target.subarray(0, inode.size).equals(stored)).toBe(true);
      for (const { name, nid } of entries) expect(bootstrap.lookup(inode, name)).toBe(nid);
    }
  });
});

/** Golden blobs with the bootstrap that describes them. */
const BLOBS = [
  'small',
  'small-batch',
  'small-lz4',
  'small-64k',
  'tiny-none',
  'tiny-sha256',
  'tiny-bare',
  'tiny-toc',
];

describe('decode, then encode, of every structure in a golden blob', () => {
  test.each(BLOBS)('%s: chunk infos, contexts, header', (name) => {
    const blob = parseBootstrap(golden(`v6/${name}.boot`)).blobs[0]!;
    const file = golden(`v6/${name}.blob`);
    const { ci } = blob;
    const header = expectSame(
      file,
      { offset: ci.offset + ci.compressedSize, size: CONTEXT_HEADER_SIZE },
      decodeContextHeader,
      encodeContextHeader,
    );
    const stored = file.subarray(ci.offset, ci.offset + ci.compressedSize);
    const array = decompress(ci.compressor, stored, ci.uncompressedSize);
    const v2 = hasFeature(blob.features, BlobFeature.CHUNK_INFO_V2);
    for (let i = 0; i < blob.chunkCount; i++) {
      if (v2) {
        const range = { offset: i * CHUNK_INFO_V2_SIZE, size: CHUNK_INFO_V2_SIZE };
        expectSame(array, range, decodeChunkInfoV2, encodeChunkInfoV2);
      } else {
        const range = { offset: i * CHUNK_INFO_V1_SIZE, size: CHUNK_INFO_V1_SIZE };
        expectSame(array, range, decodeChunkInfoV1, encodeChunkInfoV1);
      }
    }
    for (let i = 0; i < header.contextsCount; i++) {
      const range = { offset: header.contextsOffset + i * BATCH_CONTEXT_SIZE, size: BATCH_CONTEXT_SIZE };
      expectSame(array, range, decodeBatchContext, encodeBatchContext);
    }
    expect(header.contextsCount).toBe(name === 'small-batch' ? 4 : 0);
  });

  test.each([
    ['ref/small-zran.meta', 1],
    ['ref/full1-zran.meta', 10],
  ])('%s: zran contexts', (path, count) => {
    const file = golden(path);
    const toc = findToc(file.subarray(-TOC_TAIL_SIZE), file.length, path)!;
    const [meta, headerEntry] = ['blob.meta', 'blob.meta.header'].map(
      (name) => toc.find((entry) => entry.name === name)!,
    );
    const header = expectSame(
      file,
      { offset: headerEntry!.offset, size: CONTEXT_HEADER_SIZE },
      decodeContextHeader,
      encodeContextHeader,
    );
    const array = decompress(meta!.compressor, file.subarray(0, meta!.storedSize), meta!.size);
    expect(header.contextsCount).toBe(count);
    const contexts = Array.from({ length: count }, (_, i) => {
      const range = { offset: header.contextsOffset + i * ZRAN_CONTEXT_SIZE, size: ZRAN_CONTEXT_SIZE };
      return expectSame(array, range, decodeZranContext, encodeZranContext);
    });
    expect(contexts.reduce((sum, { dictSize }) => sum + dictSize, count * ZRAN_CONTEXT_SIZE)).toBe(
      header.contextsSize,
    );
  });

  const WITH_TOC = readdirSync(join(import.meta.dirname, '../../fixtures/golden/v6')).filter(
    (file) => file.endsWith('.blob') && !['tiny-bare.blob', 'tiny-inline-notoc.blob'].includes(file),
  );
  test.each(WITH_TOC)('%s: table of contents and tar headers', (name) => {
    const file = golden(`v6/${name}`);
    const toc = findToc(file.subarray(-TOC_TAIL_SIZE), file.length, name)!;
    expect(encodeToc(toc).equals(file.subarray(-(toc.length * TOC_ENTRY_SIZE + TAR_FOOTER_SIZE)))).toBe(true);
    for (let i = 0; i < toc.length; i++) {
      const offset = file.length - TAR_FOOTER_SIZE - (toc.length - i) * TOC_ENTRY_SIZE;
      expectSame(file, { offset, size: TOC_ENTRY_SIZE }, decodeTocEntry, encodeTocEntry);
    }
    for (const entry of toc) {
      if (entry.name === 'blob.meta') continue; // its tar header stands behind blob.meta.header
      const offset = entry.offset + entry.storedSize;
      const footer = decodeTarFooter(file, offset, name);
      expect(footer.name).toBe(entry.name === 'blob.meta.header' ? 'blob.meta' : entry.name);
      expect(encodeTarFooter(footer).equals(file.subarray(offset, offset + TAR_FOOTER_SIZE))).toBe(true);
    }
  });
});
