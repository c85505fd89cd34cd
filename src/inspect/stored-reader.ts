/** Takes ranges in ascending order from a stream, holding no more than the range that is asked for. */
export interface StoredReader {
  /** Bytes [offset, offset + length); fewer where the stream ends. `offset` must not be below that of the call before. */
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
  let kept: Buffer[] = [];
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
      const bytes = kept.length === 1 ? kept[0]! : Buffer.concat(kept);
      if (kept.length > 1) kept = [bytes];
      return bytes.subarray(Math.max(offset - start, 0), Math.max(offset + length - start, 0));
    },
    async finish() {
      while (!ended) {
        await pull();
        dropBefore(end);
      }
    },
  };
}
