import { Scratch } from '../codec/scratch.js';

const NOTHING = Buffer.alloc(0);

/** Takes ranges in ascending order from a stream, holding no more than the range that is asked for. */
export interface StoredReader {
  /**
   * Bytes [offset, offset + length); fewer where the stream ends. `offset` must not be below that of the call before. They are the
   * caller's until the next call.
   */
  take(offset: number, length: number): Promise<Buffer>;
  /** Reads to the end of the stream, so that it comes to its verdict. */
  finish(): Promise<void>;
}

/** Reads `stream`; `onBytes` is told of every piece that passes. */
export function createStoredReader(
  stream: AsyncIterable<Buffer>,
  onBytes: (piece: Buffer) => void,
): StoredReader {
  const pieces = stream[Symbol.asyncIterator]();
  const kept: Buffer[] = [];
  const scratch = new Scratch();
  /** Offset of the first kept byte, and of the byte behind the last. */
  let start = 0;
  let end = 0;
  let ended = false;

  async function pull(): Promise<void> {
    const next = await pieces.next();
    if (next.done) {
      ended = true;
      return;
    }
    onBytes(next.value);
    kept.push(next.value);
    end += next.value.length;
  }

  function dropBefore(offset: number): void {
    while (kept.length > 0 && start + kept[0]!.length <= offset) start += kept.shift()!.length;
  }

  return {
    async take(offset, length) {
      dropBefore(offset);
      while (!ended && end < offset + length) {
        await pull();
        dropBefore(offset);
      }
      const from = Math.max(offset - start, 0);
      if (kept.length === 0) return NOTHING;
      if (from + length <= kept[0]!.length) return kept[0]!.subarray(from, from + length);
      const bytes = scratch.take(Math.min(length, Math.max(end - offset, 0)));
      let filled = 0;
      for (const piece of kept) {
        filled += piece.copy(bytes, filled, filled === 0 ? from : 0);
        if (filled === bytes.length) break;
      }
      return bytes;
    },
    async finish() {
      while (!ended) {
        await pull();
        dropBefore(end);
      }
    },
  };
}
