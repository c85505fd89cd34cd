import type { BlobLayout, ChunkInfo } from '../layout.js';

/** Decoded bytes that are fetched ahead of a reader: at first, and at most. */
const FIRST_WINDOW = 2 << 20;
const LARGEST_WINDOW = 16 << 20;
/** Readers that are told apart. */
const MAX_STREAMS = 8;
/** How far behind the start of a chunk a large read may come to it, in bytes: the kernel asks out of order. */
const SLACK = 128 << 10;
/** A read of so many bytes is the kernel's own read-ahead: it has seen that its reader goes on. */
const LARGE_READ = 64 << 10;
/** Decoded bytes that a reader must have gone through: less may be a few small files side by side. */
const MIN_RUN = 256 << 10;

/** What fetches chunks that nobody waits for; false if it does not. */
type Prefetch = (indices: number[]) => Promise<boolean>;

/** A reader that goes from chunk to chunk. */
interface Stream {
  /** The last chunk that was touched. */
  last: number;
  /** Decoded bytes of the chunks that it went through. */
  run: number;
  /** How sure it is that it goes on. */
  steps: number;
  window: number;
  /** Decoded offset up to which chunks were asked for. */
  ahead: number;
}

/**
 * Sees from the reads of one blob who reads on and on, also across files, and has the chunks behind fetched: the further, the
 * longer that goes on. Random reads have nothing fetched. It need not be told of every read: the first one of each chunk does.
 */
export class ReadAhead {
  readonly #layout: BlobLayout;
  readonly #prefetch: Prefetch;
  /** The most recently used last. */
  readonly #streams: Stream[] = [];

  constructor(layout: BlobLayout, prefetch: Prefetch) {
    this.#layout = layout;
    this.#prefetch = prefetch;
  }

  /** `length` bytes from decoded `offset` were asked for; they overlap `chunks`. */
  note(chunks: readonly ChunkInfo[], offset: number, length: number): void {
    const [first] = chunks;
    const last = chunks.at(-1);
    if (first === undefined || last === undefined) return;
    const here = this.#streams.findIndex((stream) => stream.last === last.index);
    const at =
      here >= 0
        ? here
        : this.#streams.findIndex((stream) => this.#continues(stream, first, { last, offset, length }));
    const [found] = at < 0 ? [] : this.#streams.splice(at, 1);
    const stream = found ?? { last: last.index, run: last.size, steps: 0, window: 0, ahead: 0 };
    this.#streams.push(stream);
    if (this.#streams.length > MAX_STREAMS) this.#streams.shift();
    if (last.index <= stream.last) return;
    for (const { index, size } of chunks) if (index > stream.last) stream.run += size;
    stream.last = last.index;
    stream.steps += length >= LARGE_READ ? 2 : 1;
    if (stream.steps >= 2 && stream.run >= MIN_RUN) this.#extend(stream, last);
  }

  /** True if a read could be the next one of a stream. */
  #continues(
    { last: behind, ahead }: Stream,
    first: ChunkInfo,
    { last, offset, length }: { last: ChunkInfo; offset: number; length: number },
  ): boolean {
    if (last.index <= behind) return false;
    // What was asked for ahead of it is its own, whatever comes first.
    if (first.decodedOffset < ahead && first.index > behind) return true;
    if (first.index > behind + 1) return false;
    const next = first.index === behind + 1 ? first : this.#layout.chunk(behind + 1);
    return offset <= next.decodedOffset + (length >= LARGE_READ ? SLACK : 0);
  }

  #extend(stream: Stream, last: ChunkInfo): void {
    const position = last.decodedOffset + last.size;
    const left = Math.max(0, stream.ahead - position);
    if (stream.window > 0 && left > stream.window / 2) return;
    stream.window = stream.window === 0 ? FIRST_WINDOW : Math.min(2 * stream.window, LARGEST_WINDOW);
    const layout = this.#layout;
    const end = position + stream.window;
    const indices: number[] = [];
    const from = layout.chunkAtDecoded(Math.max(position, stream.ahead));
    for (let index = from; index < layout.chunkCount; index++) {
      const { decodedOffset, size } = layout.chunk(index);
      if (decodedOffset >= end) break;
      indices.push(index);
      stream.ahead = decodedOffset + size;
    }
    if (indices.length === 0) return;
    const giveUp = () => {
      stream.window = 0;
      stream.steps = 0;
    };
    this.#prefetch(indices).then((fits) => fits || giveUp(), giveUp);
  }
}
