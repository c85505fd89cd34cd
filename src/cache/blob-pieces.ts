import type { BlobBytes } from './blob-bytes.js';
import { endOf, fillGaps } from './chunk-runs.js';
import { composeRead, type ReadPlaces } from './compose.js';
import type { PieceArrivals } from './fetch/piece-arrivals.js';
import type { ChunkInfo } from './layout.js';
import { type PiecePlace, PieceReader, type SharedPieces, sharePieces } from './pieces.js';
import { unitPlaceOf } from './unit.js';

/** What is read: `target` stands for the decoded bytes from `offset`. */
interface Range {
  offset: number;
  target: Buffer;
}

/** The pieces of one blob that an image's start-up pack has, vouched for by the image as its chunks are. */
export class BlobPieces {
  readonly shared: SharedPieces;
  readonly #reader: PieceReader;
  readonly #arrivals: PieceArrivals;

  /** `fd`: the file that they are written to as they arrive. */
  constructor(pieces: readonly PiecePlace[], { fd, arrivals }: { fd: number; arrivals: PieceArrivals }) {
    this.shared = sharePieces(pieces, { fd, arrived: arrivals.arrived });
    this.#reader = new PieceReader(this.shared);
    this.#arrivals = arrivals;
  }

  /**
   * Fills `target`, which overlaps `chunks`, from local chunks and from pieces that have come, at once; zeros between chunks. False
   * if something is in neither, or cannot be read; then `target` holds anything.
   */
  compose(
    chunks: readonly ChunkInfo[],
    { offset, target }: Range,
    local: Pick<ReadPlaces, 'isLocal' | 'fromFile'>,
  ): boolean {
    const first = chunks[0]?.index ?? 0;
    const chunk = (index: number) => chunks[index - first]!;
    try {
      const done = composeRead(offset, target, first, {
        ...local,
        count: first + chunks.length,
        offset: (index) => chunk(index).decodedOffset,
        size: (index) => chunk(index).size,
        fromPieces: (at, part) => this.#reader.read(at, part),
      });
      if (!done) return false;
    } catch {
      return false;
    }
    fillGaps(chunks, offset, target);
    return true;
  }

  /**
   * Waits for what of `chunks` in `target` is on its way, where that is likely sooner than the chunk: `coming` resolves with the chunks
   * whose part of `target` is filled. `others` are those of which the pieces do not have all that is asked for. `bytes`: where those would come from.
   */
  await(
    chunks: readonly ChunkInfo[],
    { offset, target, signal, bytes }: Range & { signal: AbortSignal; bytes: Pick<BlobBytes, 'pieceBytes'> },
  ): { others: ChunkInfo[]; coming: Promise<Set<ChunkInfo>> } {
    const others: ChunkInfo[] = [];
    const isDear = () => bytes.pieceBytes !== undefined;
    const waits: Promise<ChunkInfo | undefined>[] = [];
    for (const chunk of chunks) {
      const from = Math.max(offset, chunk.decodedOffset);
      const part = target.subarray(from - offset, endOf(chunk) - offset);
      const unit = this.#reader.unitOf(from, part.length);
      if (unit === undefined) others.push(chunk);
      else
        waits.push(
          this.#awaitOne(chunk, { unit, signal, isDear, read: () => this.#reader.read(from, part) }),
        );
    }
    const coming = Promise.all(waits).then((came) => new Set(came.filter((chunk) => chunk !== undefined)));
    return { others, coming };
  }

  async #awaitOne(
    chunk: ChunkInfo,
    {
      unit,
      signal,
      isDear,
      read,
    }: { unit: number; signal: AbortSignal; isDear: () => boolean; read: () => boolean },
  ): Promise<ChunkInfo | undefined> {
    const cost = { chunkBytes: unitPlaceOf(chunk).storedSize, isDear };
    const came = await this.#arrivals.wait(unit, cost, signal);
    return came && !signal.aborted && read() ? chunk : undefined;
  }
}
