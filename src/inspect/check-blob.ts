import { createHash } from 'node:crypto';
import { isDeepStrictEqual } from 'node:util';
import { type BlobLayout, layoutOf } from '../cache/layout.js';
import { decodeUnit, unitOf } from '../cache/unit.js';
import { crc32c } from '../codec/digest.js';
import { Scratch } from '../codec/scratch.js';
import { isRafterError, messageOf } from '../errors.js';
import { descriptorOfMap, mapNameOf, readStoredMap } from '../image/chunk-map.js';
import type { Descriptor } from '../image/descriptor.js';
import type { ImageSource } from '../image/source.js';
import { BlobFeature, hasFeature } from '../rafs/blob-features.js';
import { BlobMeta } from '../rafs/blob-meta.js';
import type { Bootstrap, ChunkMap, RafsBlob } from '../rafs/bootstrap.js';
import { ChunkFlag } from '../rafs/chunk-table.js';
import type { TocEntry } from '../rafs/toc-entry.js';
import type { ChunkTable } from './check-chunk-table.js';
import { checkToc } from './check-toc.js';
import { checkAskingOthers, type FaultList } from './faults.js';
import { createStoredReader } from './stored-reader.js';

/** Bytes of the header that ends a chunk map: all that nydusify 2.4 brings along for an LZ4 blob. */
const MAP_HEADER_SIZE = 4096;

export interface BlobCheck {
  source: ImageSource;
  /** The layer that the blob is, or refers to. */
  descriptor: Descriptor;
  bootstrap: Bootstrap;
  table: ChunkTable;
  /** Position in the bootstrap's blob table. */
  blobIndex: number;
  /** The `.blob.meta` file of the bootstrap layer, if it has one. */
  supplied: Buffer | undefined;
  signal?: AbortSignal | undefined;
  /** Told how many more bytes of the blob have been read. */
  onBytes?: ((bytes: number) => void) | undefined;
}

/** What was read of a blob. */
export interface BlobResult {
  bytes: number;
  chunks: number;
}

/**
 * Checks one blob in one pass over its bytes: size and SHA-256, table of contents, chunk map, and every chunk that the image
 * uses, decoded, against digest and CRC. Holds one unit of chunks at a time. UNSUPPORTED for forms that cannot be read.
 */
export function checkBlob(check: BlobCheck, faults: FaultList): Promise<BlobResult> {
  const { onBytes, takeBack } = countedBytes(check.onBytes);
  return checkAskingOthers(faults, (tried) => checkOnce({ ...check, onBytes }, tried), takeBack);
}

/** Passes on how many bytes are read, and takes all of them back when the reading begins anew. */
function countedBytes(onBytes: (bytes: number) => void = () => {}) {
  let seen = 0;
  return {
    onBytes(bytes: number) {
      seen += bytes;
      onBytes(bytes);
    },
    takeBack() {
      onBytes(-seen);
      seen = 0;
    },
  };
}

async function checkOnce(check: BlobCheck, faults: FaultList): Promise<BlobResult> {
  const { source, descriptor, bootstrap, blobIndex, signal } = check;
  const blob = bootstrap.blobs[blobIndex]!;
  const place = { blob: blob.id };
  if (hasFeature(blob.features, BlobFeature.INLINED_FS_META))
    faults.add('bootstrap', 'the blob table says that the blob holds its own bootstrap', place);
  if (blob.compressedSize > descriptor.size) {
    faults.add(
      'bootstrap',
      `the blob table says ${blob.compressedSize} bytes, the manifest ${descriptor.size}`,
      place,
    );
  }
  const holder = descriptorOfMap(blob, descriptor);
  const read = (offset: number, length: number) => source.readBlobRange(holder, offset, length, signal);
  const map = await readMap(check, blob, faults);
  const digestOf = (chunk: number) => bootstrap.chunkDigest(blobIndex, chunk);
  const data = await checkToc({ blob, size: holder.size, read, digestOf }, faults);
  if (map) compareWithTable(check, map, faults);
  const layout = map && layoutOf(bootstrap, blobIndex, map);
  return readChunks(check, { blob, layout, data }, faults);
}

/** Reads a layer that no file of the image needs; only its digest can be checked. */
export async function checkUnusedBlob(
  source: ImageSource,
  descriptor: Descriptor,
  {
    faults,
    signal,
    onBytes,
  }: { faults: FaultList; signal?: AbortSignal | undefined; onBytes?: (bytes: number) => void },
): Promise<number> {
  const counted = countedBytes(onBytes);
  const read = async (tried: FaultList) => {
    let bytes = 0;
    await tried.guard('blob', async () => {
      for await (const piece of (await source.openBlob(descriptor, signal)) as AsyncIterable<Buffer>) {
        bytes += piece.length;
        counted.onBytes(piece.length);
      }
    });
    return bytes;
  };
  return checkAskingOthers(faults, read, counted.takeBack);
}

/** The bootstrap's or the blob's own chunk map, the latter compared with the one that the bootstrap layer brings along. */
async function readMap(check: BlobCheck, blob: RafsBlob, faults: FaultList): Promise<ChunkMap | undefined> {
  const { source, descriptor, bootstrap, blobIndex, supplied, signal } = check;
  const place = { blob: blob.id };
  if (bootstrap.version === 5) return faults.guard('bootstrap', () => bootstrap.chunkMap(blobIndex), place);
  const map = await faults.guard(
    'blob',
    async () => (await readStoredMap(source, { descriptor, blob, signal })).map,
    place,
  );
  if (!supplied) return map;
  let other: BlobMeta;
  try {
    other = BlobMeta.parseFile(supplied, blob);
  } catch (error) {
    if (!isRafterError(error, 'MALFORMED', 'LIMIT_EXCEEDED')) throw error;
    const message = `the bootstrap layer's ${mapNameOf(blob)}.blob.meta is no chunk map: ${messageOf(error)}`;
    if (supplied.length === MAP_HEADER_SIZE) faults.warnings.push(message);
    else faults.add('bootstrap', message, place);
    return map;
  }
  if (!map) return other;
  for (let i = 0; i < map.chunkCount; i++) {
    if (isDeepStrictEqual(map.chunk(i), other.chunk(i))) continue;
    faults.add('bootstrap', "the bootstrap layer's chunk map says another thing than the blob's", {
      ...place,
      chunk: i,
    });
  }
  return map;
}

/** Compares the rows that the bootstrap has for the blob's chunks with the chunk map. Batches have no places in the table. */
function compareWithTable(
  { table, blobIndex, bootstrap }: BlobCheck,
  map: ChunkMap,
  faults: FaultList,
): void {
  const { id } = bootstrap.blobs[blobIndex]!;
  for (const row of table.each()) {
    if (row.blobIndex !== blobIndex || row.index >= map.chunkCount) continue;
    const chunk = map.chunk(row.index);
    const isCompressed = (row.flags & ChunkFlag.COMPRESSED) !== 0;
    const pairs: [string, number | boolean, number | boolean][] = [
      ['size', row.size, chunk.size],
      ['decoded offset', row.decodedOffset, chunk.decodedOffset],
    ];
    if (!chunk.batch) {
      pairs.push(['stored size', row.storedSize, chunk.storedSize]);
      pairs.push(['stored offset', row.storedOffset, chunk.storedOffset]);
      pairs.push(['compressed', isCompressed, chunk.compressed]);
      if (chunk.crc !== undefined && (row.flags & ChunkFlag.HAS_CRC32) !== 0)
        pairs.push(['CRC', row.crc, chunk.crc]);
    }
    for (const [field, inTable, inMap] of pairs) {
      if (inTable === inMap) continue;
      faults.add('bootstrap', `chunk table: ${field} ${inTable}, but ${inMap} in the blob's chunk map`, {
        blob: id,
        chunk: row.index,
        offset: row.offset,
      });
    }
  }
}

async function readChunks(
  check: BlobCheck,
  found: { blob: RafsBlob; layout: BlobLayout | undefined; data: TocEntry | undefined },
  faults: FaultList,
): Promise<BlobResult> {
  const { source, descriptor, signal } = check;
  const { blob, layout, data } = found;
  const result: BlobResult = { bytes: 0, chunks: 0 };
  const place = { blob: blob.id };
  // The digest of the chunk data covers the tar header behind it, which ends where the chunk map begins.
  const dataHash = createHash('sha256');
  const onBytes = (piece: Buffer) => {
    if (result.bytes < blob.ci.offset) dataHash.update(piece.subarray(0, blob.ci.offset - result.bytes));
    result.bytes += piece.length;
    check.onBytes?.(piece.length);
  };
  await faults.guard(
    'blob',
    async () => {
      const stream = await source.openBlob(descriptor, signal);
      try {
        const reader = createStoredReader(stream as AsyncIterable<Buffer>, onBytes);
        if (layout) {
          const scratch = new Scratch();
          for (const index of storedOrder(layout)) {
            const chunk = layout.chunk(index);
            const unit = unitOf(layout, chunk);
            const stored = await reader.take(unit.storedOffset, unit.storedSize);
            const whole = stored.length === unit.storedSize ? stored : undefined;
            const decoded = decodeUnit(layout, unit, whole, scratch);
            for (const member of unit.members) {
              if (layout.chunkDigest(member.index) === undefined) continue;
              result.chunks++;
              const bytes = decoded.good.get(member.index);
              const at = { ...place, chunk: member.index, offset: unit.storedOffset };
              if (!bytes) faults.add('blob', messageOf(decoded.bad.get(member.index)), at);
              else checkCrc(check, member.index, { bytes, at, faults });
            }
          }
        }
        await reader.finish();
      } finally {
        stream.destroy();
      }
    },
    place,
  );
  if (data && result.bytes >= blob.ci.offset && !dataHash.digest().equals(data.digest))
    faults.add('blob', 'the chunk data does not match its digest in the table of contents', place);
  return result;
}

/** The chunk table has CRCs also for members of batches, whose chunk infos have none. */
function checkCrc(
  { table, blobIndex }: BlobCheck,
  index: number,
  { bytes, at, faults }: { bytes: Buffer; at: object; faults: FaultList },
): void {
  const row = table.find(blobIndex, index);
  if (row && (row.flags & ChunkFlag.HAS_CRC32) !== 0 && crc32c(bytes) !== row.crc)
    faults.add('bootstrap', 'chunk table: the CRC-32C is not that of the chunk', at);
}

/** One chunk of every unit, in the order of their stored bytes. */
function storedOrder(layout: BlobLayout): Uint32Array {
  const offsets = new Float64Array(layout.chunkCount);
  const order = new Uint32Array(layout.chunkCount);
  let count = 0;
  let isAscending = true;
  let batch: number | undefined;
  for (let index = 0; index < layout.chunkCount; index++) {
    const chunk = layout.chunk(index);
    offsets[index] = chunk.storedOffset;
    if (chunk.batch && chunk.batch.index === batch) continue;
    batch = chunk.batch?.index;
    if (count > 0 && offsets[order[count - 1]!]! > chunk.storedOffset) isAscending = false;
    order[count++] = index;
  }
  const units = order.subarray(0, count);
  return isAscending ? units : units.sort((a, b) => offsets[a]! - offsets[b]!);
}
