import { type Compressor, decompress, decompressAside } from '../codec/compressor.js';
import { chunkDigest, crc32c } from '../codec/digest.js';
import { type InflateStart, inflateSlice } from '../codec/inflate-slice.js';
import type { Scratch } from '../codec/scratch.js';
import { decryptUnit } from '../codec/unit-cipher.js';
import { messageOf, RafterError } from '../errors.js';
import type { BlobLayout, ChunkInfo } from './layout.js';

/** What is fetched and decoded as one: a chunk standing alone, a batch of small chunks, or a slice of a gzip file. */
export interface Unit {
  storedOffset: number;
  storedSize: number;
  decodedSize: number;
  compressed: boolean;
  encrypted: boolean;
  /** For a slice of a gzip file. */
  inflate: InflateStart | undefined;
  /** Chunks in it whose digests the layout knows, in order of their index. */
  members: ChunkInfo[];
}

/** A unit's chunks after decoding: those whose bytes are proven, and what is wrong with the others. */
export interface DecodedUnit {
  good: Map<number, Buffer>;
  bad: Map<number, RafterError>;
}

/** Where the unit that holds `chunk` is stored. Cheaper than `unitOf`, which looks at all chunks of the unit. */
export function unitPlaceOf({ storedOffset, storedSize, batch }: ChunkInfo): {
  storedOffset: number;
  storedSize: number;
} {
  return { storedOffset, storedSize: batch ? batch.storedSize : storedSize };
}

/** The unit that holds `chunk`, with the neighbours that share it. */
export function unitOf(layout: BlobLayout, chunk: ChunkInfo): Unit {
  const { storedOffset, storedSize, size, compressed, encrypted, batch, inflate } = chunk;
  return {
    storedOffset,
    storedSize: batch ? batch.storedSize : storedSize,
    decodedSize: batch ? batch.decodedSize : size,
    compressed,
    encrypted,
    inflate,
    members: batch ? batchMembers(layout, chunk, batch) : [chunk],
  };
}

/** The units that hold `chunks` (ascending), each once, in order of their place. */
export function unitsOf(layout: BlobLayout, chunks: readonly ChunkInfo[]): Unit[] {
  const units: Unit[] = [];
  const covered = new Set<number>();
  for (const chunk of chunks) {
    if (covered.has(chunk.index)) continue;
    const unit = unitOf(layout, chunk);
    for (const member of unit.members) covered.add(member.index);
    units.push(unit);
  }
  return units.sort((a, b) => a.storedOffset - b.storedOffset);
}

/** Neighbours on both sides, at most as many bytes as the batch has: members that overlap must not multiply the work. */
function batchMembers(
  layout: BlobLayout,
  chunk: ChunkInfo,
  batch: NonNullable<ChunkInfo['batch']>,
): ChunkInfo[] {
  let room = batch.decodedSize - chunk.size;
  const collect = (step: 1 | -1): ChunkInfo[] => {
    const found: ChunkInfo[] = [];
    for (let index = chunk.index + step; index >= 0 && index < layout.chunkCount; index += step) {
      const neighbour = layout.chunk(index);
      if (neighbour.batch?.index !== batch.index || neighbour.storedOffset !== chunk.storedOffset) break;
      room -= neighbour.size;
      if (room < 0) break;
      if (layout.chunkDigest(index)) found.push(neighbour);
    }
    return found;
  };
  const before = collect(-1).reverse();
  return [...before, chunk, ...collect(1)];
}

/**
 * Decodes `stored` and checks every member: length, digest, and CRC if the layout has one. Takes about 1 ms per MiB and
 * touches nothing but its arguments. Undefined for `stored` means that the source gave bytes of another length. With
 * `scratch` the result may stand there.
 */
export function decodeUnit(
  layout: BlobLayout,
  unit: Unit,
  stored: Buffer | undefined,
  scratch?: Scratch,
): DecodedUnit {
  try {
    const { inflate, decodedSize } = unit;
    const { packed, compressor } = packedIn(layout, unit, stored);
    const decoded = inflate
      ? inflateSlice(packed, inflate, decodedSize)
      : decompress(compressor, packed, decodedSize, scratch);
    return judge(layout, unit, decoded);
  } catch (error) {
    return judge(layout, unit, messageOf(error));
  }
}

/**
 * As `decodeUnit`, with what takes longest on another thread where that can be. The result may stand in `stored` and in what `room` gave,
 * which nobody may change until then.
 */
export async function decodeUnitAside(
  layout: BlobLayout,
  unit: Unit,
  stored: Buffer | undefined,
  room: Pick<Scratch, 'take'>,
): Promise<DecodedUnit> {
  if (unit.inflate) return decodeUnit(layout, unit, stored);
  try {
    const { packed, compressor } = packedIn(layout, unit, stored);
    return judge(layout, unit, await decompressAside(compressor, packed, unit.decodedSize, room));
  } catch (error) {
    return judge(layout, unit, messageOf(error));
  }
}

/** What of `stored` is to be decompressed, and by what. */
function packedIn(
  layout: BlobLayout,
  { compressed, encrypted, decodedSize }: Unit,
  stored: Buffer | undefined,
): { packed: Buffer; compressor: Compressor } {
  if (stored === undefined) throw new RafterError('TRUNCATED', 'the source gave another number of bytes');
  const packed = encrypted ? decrypt(layout, stored) : stored;
  // A short batch is filled up before it is encrypted, so its sizes differ although it is raw.
  const isFilledUp = packed.length < stored.length && packed.length === decodedSize;
  return { packed, compressor: compressed && !isFilledUp ? layout.compressor : 'none' };
}

/** Which members of a unit are right that was decoded to these bytes, or was not, for this reason. */
function judge(layout: BlobLayout, unit: Unit, decoded: Buffer | string): DecodedUnit {
  const result: DecodedUnit = { good: new Map(), bad: new Map() };
  for (const member of unit.members) {
    const start = member.batch?.offset ?? 0;
    const bytes = typeof decoded === 'string' ? undefined : decoded.subarray(start, start + member.size);
    const wrong = bytes ? wrongWith(layout, member, bytes) : (decoded as string);
    if (bytes && wrong === undefined) result.good.set(member.index, bytes);
    else result.bad.set(member.index, mismatch(layout, unit, member.index, wrong));
  }
  return result;
}

/** True if `bytes` are what the layout says of `chunk`. False also if it has no digest to compare with. */
export function isChunk(layout: BlobLayout, chunk: ChunkInfo, bytes: Buffer): boolean {
  return wrongWith(layout, chunk, bytes) === undefined;
}

function decrypt({ id, cipher }: BlobLayout, stored: Buffer): Buffer {
  if (!cipher) throw new RafterError('MALFORMED', `blob ${id} is encrypted, but the image has no key for it`);
  return decryptUnit(cipher, stored);
}

function wrongWith(layout: BlobLayout, chunk: ChunkInfo, bytes: Buffer): string | undefined {
  const digest = layout.chunkDigest(chunk.index);
  if (!digest) return 'the image has no digest for it';
  if (bytes.length !== chunk.size) return `it has ${bytes.length} bytes, not ${chunk.size}`;
  const { digester } = layout;
  if (!chunkDigest(digester, bytes).equals(digest)) return `its ${digester} digest is another`;
  if (chunk.crc !== undefined && crc32c(bytes) !== chunk.crc) return 'its CRC-32C is another';
  return undefined;
}

function mismatch(
  { id }: BlobLayout,
  { storedOffset, storedSize }: Unit,
  index: number,
  reason?: string,
): RafterError {
  const place = `stored bytes ${storedOffset} to ${storedOffset + storedSize}`;
  return new RafterError('DIGEST_MISMATCH', `blob ${id}: chunk ${index} (${place}) is damaged: ${reason}`);
}
