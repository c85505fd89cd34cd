import { readSync } from 'node:fs';

/** A range of a blob's decoded bytes whose copy stands, or will stand, in a file of pieces. */
export interface PiecePlace {
  offset: number;
  length: number;
  /** Where the copy is in the file. */
  position: number;
  /** It is there as soon as so many units have arrived, and one more. */
  unit: number;
}

/** What another thread needs to read the pieces of one blob by itself. */
export interface SharedPieces {
  /** The file, as this process has it open. */
  fd: number;
  /** For each piece, ascending: offset, end, position in the file, unit, as doubles. */
  places: SharedArrayBuffer;
  /** One 32-bit counter: units that have arrived. It grows when their bytes are in the file. */
  arrived: SharedArrayBuffer;
}

const FIELDS = 4;
const END = 1;
const POSITION = 2;
const UNIT = 3;

/** Describes `pieces` of one blob, which do not overlap, to all threads. */
export function sharePieces(
  pieces: readonly PiecePlace[],
  { fd, arrived }: Pick<SharedPieces, 'fd' | 'arrived'>,
): SharedPieces {
  const places = new SharedArrayBuffer(pieces.length * FIELDS * Float64Array.BYTES_PER_ELEMENT);
  const table = new Float64Array(places);
  const ascending = pieces.toSorted((a, b) => a.offset - b.offset);
  for (const [i, { offset, length, position, unit }] of ascending.entries())
    table.set([offset, offset + length, position, unit], i * FIELDS);
  return { fd, places, arrived };
}

/** Reads decoded bytes of one blob from the pieces that have arrived. Every thread has its own. */
export class PieceReader {
  readonly #fd: number;
  readonly #table: Float64Array;
  readonly #count: number;
  readonly #arrived: Int32Array;

  constructor({ fd, places, arrived }: SharedPieces) {
    this.#fd = fd;
    this.#table = new Float64Array(places);
    this.#count = this.#table.length / FIELDS;
    this.#arrived = new Int32Array(arrived);
  }

  /**
   * The unit after whose arrival all of the range is here; undefined if the pieces do not cover it.
   */
  unitOf(offset: number, length: number): number | undefined {
    const end = offset + length;
    let unit = -1;
    let done = offset;
    for (let i = this.#find(offset); done < end; i++) {
      if (i < 0 || i >= this.#count || this.#at(i, 0) > done || this.#at(i, END) <= done) return undefined;
      unit = Math.max(unit, this.#at(i, UNIT));
      done = this.#at(i, END);
    }
    return unit < 0 ? undefined : unit;
  }

  /** True if `unit` has arrived. */
  has(unit: number): boolean {
    return unit < Atomics.load(this.#arrived, 0);
  }

  /** Fills `target` from decoded `offset` on. False if not all of it is here, or the file cannot be read; then it holds anything. */
  read(offset: number, target: Buffer): boolean {
    const unit = this.unitOf(offset, target.length);
    if (unit === undefined || !this.has(unit)) return false;
    let done = 0;
    for (let i = this.#find(offset); done < target.length; i++) {
      const within = offset + done - this.#at(i, 0);
      const length = Math.min(target.length - done, this.#at(i, END) - offset - done);
      try {
        if (readSync(this.#fd, target, done, length, this.#at(i, POSITION) + within) !== length) return false;
      } catch {
        return false;
      }
      done += length;
    }
    return true;
  }

  /** The last piece that starts at or before `offset`; -1 if there is none. */
  #find(offset: number): number {
    let [low, high] = [0, this.#count];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#at(middle, 0) <= offset) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  #at(index: number, field: number): number {
    return this.#table[index * FIELDS + field]!;
  }
}
