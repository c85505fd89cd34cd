import { RafterError } from '../../errors.js';
import { MAX_TOUCHES, type Touch, type TouchSource, TRACE_PAGE_SIZE } from '../../trace/trace.js';

/** What the threads that answer reads share while a mount is traced. */
export interface SharedTrace {
  /** `clock()` when the mount was asked for. */
  startedAt: number;
  /** Decoded bytes of each blob, in blob table order. */
  sizes: number[];
  /** A bit for each page that was touched: the blobs one after the other, each from a word of 32 bits on. */
  pages: SharedArrayBuffer;
  /** For each touch `PLACE_FIELDS` numbers of 64 bits. Memory that nothing was written to costs nothing. */
  places: SharedArrayBuffer;
  /** For each touch `STATE_FIELDS` words. */
  states: SharedArrayBuffer;
  /** Two words: how many touches there are, and how many more there would be. */
  counters: SharedArrayBuffer;
}

/** Most decoded bytes of an image that is traced: its bits take 32 MiB then. */
export const MAX_TRACED_SIZE = 2 ** 40;

const PLACE_FIELDS = 4;
const [OFFSET, LENGTH, AT, WAITED] = [0, 1, 2, 3];
const STATE_FIELDS = 2;
const [BLOB, STATE] = [0, 1];
const [COUNT, LOST] = [0, 1];
/** States of a touch, in order of time: being written, waiting for its bytes, answered from one of `SOURCES`. */
const WAITING = 1;
const ANSWERED = 2;
const SOURCES: readonly TouchSource[] = ['local', 'fetch', 'startup'];
const PAGES_PER_WORD = 32;

/** Milliseconds of a clock that only goes forward and that all threads of the machine share. */
export function clock(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}

/**
 * Memory for the touches of an image whose blobs have `sizes` decoded bytes, which was asked for at `startedAt`.
 * Throws LIMIT_EXCEEDED above `MAX_TRACED_SIZE`.
 */
export function shareTrace(sizes: readonly number[], startedAt: number): SharedTrace {
  if (sizes.reduce((sum, size) => sum + size, 0) > MAX_TRACED_SIZE)
    throw new RafterError(
      'LIMIT_EXCEEDED',
      `an image of more than ${MAX_TRACED_SIZE} decoded bytes is not traced`,
    );
  const words = sizes.reduce((sum, size) => sum + wordsOf(size), 0);
  return {
    startedAt,
    sizes: [...sizes],
    pages: new SharedArrayBuffer(words * Int32Array.BYTES_PER_ELEMENT),
    places: new SharedArrayBuffer(MAX_TOUCHES * PLACE_FIELDS * Float64Array.BYTES_PER_ELEMENT),
    states: new SharedArrayBuffer(MAX_TOUCHES * STATE_FIELDS * Int32Array.BYTES_PER_ELEMENT),
    counters: new SharedArrayBuffer(2 * Int32Array.BYTES_PER_ELEMENT),
  };
}

function wordsOf(size: number): number {
  return Math.ceil(size / (TRACE_PAGE_SIZE * PAGES_PER_WORD));
}

/** The touches of a mount, as one thread notes and sees them. What several threads note at once is there once. */
export class TraceMemory {
  readonly shared: SharedTrace;
  readonly #firstWords: number[] = [];
  readonly #pages: Int32Array;
  readonly #places: Float64Array;
  readonly #states: Int32Array;
  readonly #counters: Int32Array;

  constructor(shared: SharedTrace) {
    this.shared = shared;
    let words = 0;
    for (const size of shared.sizes) {
      this.#firstWords.push(words);
      words += wordsOf(size);
    }
    this.#pages = new Int32Array(shared.pages);
    this.#places = new Float64Array(shared.places);
    this.#states = new Int32Array(shared.states);
    this.#counters = new Int32Array(shared.counters);
  }

  /** Notes a read of decoded bytes of a blob that was answered at once. */
  local(blob: number, offset: number, length: number): void {
    if (this.#isNew(blob, offset, length)) this.#claim(blob, { offset, length, state: ANSWERED });
  }

  /** Notes a read that has to wait; what is returned goes to `answered` when it does no longer. */
  waiting(blob: number, offset: number, length: number): number[] {
    return this.#isNew(blob, offset, length) ? this.#claim(blob, { offset, length, state: WAITING }) : [];
  }

  /** Notes that the read which `waiting` noted was answered, and from where. */
  answered(touches: readonly number[], from: TouchSource): void {
    const now = clock() - this.shared.startedAt;
    for (const touch of touches) {
      const at = touch * PLACE_FIELDS;
      this.#places[at + WAITED] = from === 'local' ? 0 : now - this.#places[at + AT]!;
      Atomics.store(this.#states, touch * STATE_FIELDS + STATE, ANSWERED + SOURCES.indexOf(from));
    }
  }

  /** Requests that were not noted because `MAX_TOUCHES` are there. */
  get lost(): number {
    return this.#counters[LOST]!;
  }

  /** Notes again what was noted in memory that is gone, before anything else is noted. */
  restore(touches: readonly Touch[]): void {
    for (const { blob, offset, length, atMs, waitedMs, from } of touches) {
      const [touch] = this.#claim(blob, { offset, length, state: ANSWERED + SOURCES.indexOf(from) });
      if (touch === undefined) continue;
      this.#places[touch * PLACE_FIELDS + AT] = atMs;
      this.#places[touch * PLACE_FIELDS + WAITED] = waitedMs;
    }
  }

  /** The touches from number `first` on, in order of time. One that still waits has waited until now. */
  touches(first = 0): Touch[] {
    const now = clock() - this.shared.startedAt;
    const touches: Touch[] = [];
    const count = Math.min(Atomics.load(this.#counters, COUNT), MAX_TOUCHES);
    for (let touch = first; touch < count; touch++) {
      const state = Atomics.load(this.#states, touch * STATE_FIELDS + STATE);
      // Another thread is just writing it: what comes behind it belongs to the next look.
      if (state === 0) break;
      const at = touch * PLACE_FIELDS;
      const atMs = this.#places[at + AT]!;
      touches.push({
        blob: this.#states[touch * STATE_FIELDS + BLOB]!,
        offset: this.#places[at + OFFSET]!,
        length: this.#places[at + LENGTH]!,
        atMs,
        waitedMs: state === WAITING ? now - atMs : this.#places[at + WAITED]!,
        from: SOURCES[state - ANSWERED] ?? 'fetch',
      });
    }
    return touches;
  }

  /** The quick look, for the many reads of what was read before. */
  #isNew(blob: number, offset: number, length: number): boolean {
    if (length === 0) return false;
    const first = Math.floor(offset / TRACE_PAGE_SIZE);
    const last = Math.floor((offset + length - 1) / TRACE_PAGE_SIZE);
    const base = this.#firstWords[blob]!;
    for (let word = first >>> 5; word <= last >>> 5; word++) {
      const mask = maskOf(word, first, last);
      if ((this.#pages[base + word]! & mask) !== mask) return true;
    }
    return false;
  }

  /** Takes the pages that nobody has taken yet: a touch for each run of them. Returns their numbers. */
  #claim(
    blob: number,
    { offset, length, state }: { offset: number; length: number; state: number },
  ): number[] {
    const now = clock() - this.shared.startedAt;
    const first = Math.floor(offset / TRACE_PAGE_SIZE);
    const last = Math.floor((offset + length - 1) / TRACE_PAGE_SIZE);
    const base = this.#firstWords[blob]!;
    const touches: number[] = [];
    let start: number | undefined;
    const end = (page: number) => {
      if (start !== undefined) this.#note(touches, { blob, state, at: now, pages: [start, page] });
      start = undefined;
    };
    for (let word = first >>> 5; word <= last >>> 5; word++) {
      const mask = maskOf(word, first, last);
      const taken = mask & ~Atomics.or(this.#pages, base + word, mask);
      for (let bit = 0; bit < PAGES_PER_WORD; bit++) {
        const page = word * PAGES_PER_WORD + bit;
        if ((taken & (1 << bit)) === 0) end(page);
        else start ??= page;
      }
    }
    end(last + 1);
    return touches;
  }

  #note(
    touches: number[],
    { blob, state, at, pages }: { blob: number; state: number; at: number; pages: [number, number] },
  ): void {
    const touch = Atomics.add(this.#counters, COUNT, 1);
    if (touch >= MAX_TOUCHES) {
      Atomics.sub(this.#counters, COUNT, 1);
      Atomics.add(this.#counters, LOST, 1);
      return;
    }
    const [offset, end] = pages.map((page) => page * TRACE_PAGE_SIZE) as [number, number];
    const length = Math.min(end, this.shared.sizes[blob]!) - offset;
    this.#places.set([offset, length, at, 0], touch * PLACE_FIELDS);
    this.#states[touch * STATE_FIELDS + BLOB] = blob;
    Atomics.store(this.#states, touch * STATE_FIELDS + STATE, state);
    touches.push(touch);
  }
}

/** The bits of word `word` for the pages from `first` to `last`. */
function maskOf(word: number, first: number, last: number): number {
  const from = Math.max(first - word * PAGES_PER_WORD, 0);
  const to = Math.min(last - word * PAGES_PER_WORD, PAGES_PER_WORD - 1);
  return (-1 << from) & (-1 >>> (PAGES_PER_WORD - 1 - to));
}
