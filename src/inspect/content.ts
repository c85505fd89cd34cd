import type { BlobBytes } from '../cache/blob-bytes.js';
import type { BlobLayout, ChunkInfo } from '../cache/layout.js';
import { type DecodedUnit, decodeUnit, unitOf, unitPlaceOf } from '../cache/unit.js';
import { RafterError } from '../errors.js';
import { useRange } from '../image/asking-others.js';
import type { DiskInode } from '../rafs/bootstrap.js';
import type { OpenImage } from './open-image.js';
import { readAhead } from './read-ahead.js';

/** Most stored bytes of one request, unless a single unit has more. */
const MAX_REQUEST_SIZE = 4 << 20;

/** Reads files of an image. One reader keeps the last unit that it decoded, as small files share them. */
export interface ContentReader {
  /**
   * The bytes of a regular file, chunk by chunk, each verified by its digest. Throws DIGEST_MISMATCH naming blob and chunk,
   * and what the source throws.
   */
  read(inode: DiskInode): AsyncGenerator<Buffer>;
}

export interface ContentOptions {
  /** Whether nearly everything of the image will be read: then it is fetched in large pieces. */
  everything?: boolean;
  signal?: AbortSignal | undefined;
}

/** A chunk of a file with where it is to be found. */
interface PlacedChunk {
  blobIndex: number;
  layout: BlobLayout;
  chunk: ChunkInfo;
  /** Stored bytes of its unit. */
  start: number;
  end: number;
}

/** Makes a reader of `image`'s files; it fetches the units that hold their chunks and nothing else. */
export function createContentReader(image: OpenImage, options: ContentOptions = {}): ContentReader {
  const { bootstrap } = image;
  const { signal } = options;
  const sources = bootstrap.blobs.map((blob): BlobBytes => {
    const descriptor = image.descriptorOf(blob);
    const direct: BlobBytes = {
      name: `${image.name}: ${descriptor.digest}`,
      read: (offset, length) => image.source.readBlobRange(descriptor, offset, length, signal),
    };
    if (!options.everything) return direct;
    return readAhead(direct, { end: descriptor.size, windowSize: MAX_REQUEST_SIZE });
  });
  let last: { blobIndex: number; storedOffset: number; decoded: DecodedUnit } | undefined;

  async function place(inode: DiskInode, k: number): Promise<PlacedChunk> {
    const { blobIndex, chunkIndex, decodedOffset } = bootstrap.chunkAt(inode, k);
    const layout = await image.layout(blobIndex);
    const chunk = layout.chunk(chunkIndex);
    const size = Math.min(bootstrap.chunkSize, inode.size - k * bootstrap.chunkSize);
    if (chunk.decodedOffset !== decodedOffset || chunk.size !== size) {
      throw new RafterError(
        'MALFORMED',
        `${bootstrap.name}: inode ${inode.nid}: chunk ${k} has ${size} bytes at ${decodedOffset}, but blob ${layout.id} ` +
          `has ${chunk.size} at ${chunk.decodedOffset} as chunk ${chunkIndex}`,
      );
    }
    const { storedOffset, storedSize } = unitPlaceOf(chunk);
    return { blobIndex, layout, chunk, start: storedOffset, end: storedOffset + storedSize };
  }

  /** Chunks of the file from `k` on that one request can bring: their units lie behind each other in one blob. */
  async function nextRun(inode: DiskInode, k: number): Promise<PlacedChunk[]> {
    const first = await place(inode, k);
    const run = [first];
    let { end } = first;
    for (let next = k + 1; next < inode.chunkCount; next++) {
      const placed = await place(inode, next);
      if (placed.blobIndex !== first.blobIndex || placed.start !== end) break;
      if (placed.end - first.start > MAX_REQUEST_SIZE) break;
      run.push(placed);
      end = placed.end;
    }
    return run;
  }

  /** A unit that was damaged, read again alone. Throws what is wrong with the chunk if nobody has it right. */
  function readAgain({ blobIndex, layout, chunk, start, end }: PlacedChunk): Promise<DecodedUnit> {
    const descriptor = image.descriptorOf(bootstrap.blobs[blobIndex]!);
    const read = () => image.source.readBlobRange(descriptor, start, end - start, signal);
    return useRange(image.source, read, (stored) => {
      const decoded = decodeUnit(layout, unitOf(layout, chunk), stored);
      if (decoded.good.has(chunk.index)) return decoded;
      throw decoded.bad.get(chunk.index) ?? missingChunk(layout, chunk);
    });
  }

  return {
    async *read(inode) {
      for (let k = 0; k < inode.chunkCount; ) {
        signal?.throwIfAborted();
        const run = await nextRun(inode, k);
        k += run.length;
        const { start, blobIndex } = run[0]!;
        const isKept =
          run.length === 1 &&
          last?.blobIndex === blobIndex &&
          last.storedOffset === start &&
          last.decoded.good.has(run[0]!.chunk.index);
        const size = run.at(-1)!.end - start;
        const stored = isKept ? undefined : await sources[blobIndex]!.read(start, size, signal);
        for (const placed of run) {
          const { layout, chunk, start: from, end } = placed;
          let decoded = isKept
            ? last!.decoded
            : decodeUnit(layout, unitOf(layout, chunk), stored?.subarray(from - start, end - start));
          if (!decoded.good.has(chunk.index)) decoded = await readAgain(placed);
          const bytes = decoded.good.get(chunk.index)!;
          last = { blobIndex, storedOffset: from, decoded };
          yield bytes;
        }
      }
    },
  };
}

function missingChunk({ id }: BlobLayout, { index }: ChunkInfo): RafterError {
  return new RafterError('MALFORMED', `blob ${id}: chunk ${index} is not in the unit that it names`);
}
