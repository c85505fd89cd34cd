import { type InflateStart, MAX_DICTIONARY_SIZE } from '../codec/inflate-slice.js';
import { RafterError } from '../errors.js';
import { decodeZranContext, ZRAN_CONTEXT_SIZE } from './zran-context.js';

/** A slice of a gzip file: bytes in the file, bytes that they decode to, and how the decoder begins. */
export interface ZranSlice {
  inOffset: number;
  inSize: number;
  outSize: number;
  inflate: InflateStart;
}

/** The contexts of a blob with feature ZRAN, and the dictionaries behind them. All contexts are checked at once. */
export class ZranTable {
  readonly #bytes: Buffer;
  readonly #count: number;
  readonly #source: string;
  /** The slice that was asked for last: chunks that follow each other share it. */
  #last: { index: number; slice: ZranSlice } | undefined;

  /** `bytes` begin with `count` contexts; they are kept. Throws MALFORMED naming the context. */
  constructor(bytes: Buffer, count: number, source: string) {
    this.#bytes = bytes;
    this.#count = count;
    this.#source = source;
    if (count * ZRAN_CONTEXT_SIZE > bytes.length)
      throw new RafterError('MALFORMED', `${source}: ${count} gzip contexts in ${bytes.length} bytes`);
    for (let i = 0; i < count; i++) this.#check(i);
  }

  /** Slice `index`; its dictionary is a view. MALFORMED if there is none. */
  slice(index: number): ZranSlice {
    if (this.#last?.index !== index) this.#last = { index, slice: this.#decode(index) };
    return this.#last.slice;
  }

  #decode(index: number): ZranSlice {
    if (index >= this.#count)
      throw new RafterError('MALFORMED', `${this.#source}: gzip slice ${index} does not exist`);
    const { inOffset, inSize, outSize, dictOffset, dictSize, byte, bits } = this.#context(index);
    const start = this.#count * ZRAN_CONTEXT_SIZE + dictOffset;
    const dictionary = this.#bytes.subarray(start, start + dictSize);
    return { inOffset, inSize, outSize, inflate: { bits, byte, dictionary } };
  }

  #context(index: number) {
    return decodeZranContext(this.#bytes, index * ZRAN_CONTEXT_SIZE);
  }

  #check(index: number): void {
    const { dictOffset, dictSize, bits } = this.#context(index);
    const wrong = (problem: string) =>
      new RafterError('MALFORMED', `${this.#source}: gzip slice ${index}: ${problem}`);
    const room = this.#bytes.length - this.#count * ZRAN_CONTEXT_SIZE;
    if (bits > 7) throw wrong(`begins with ${bits} bits of a byte`);
    if (dictSize > MAX_DICTIONARY_SIZE) throw wrong(`a dictionary of ${dictSize} bytes`);
    if (dictSize > 0 && dictOffset + dictSize > room)
      throw wrong(`the dictionary ends at ${dictOffset + dictSize} of ${room}`);
  }
}
