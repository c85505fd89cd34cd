import { RafterError } from '../errors.js';
import { decodeEntry } from './tar-decode.js';
import { MAX_LAYER_ENTRIES, TAR_BLOCK_SIZE, type TarEntry } from './tar-entry.js';
import { isExtended, TarHeaders } from './tar-headers.js';
import { expandSparse } from './tar-sparse.js';

/** One entry of a tar, with its content where that is at hand. */
export interface ScannedEntry extends TarEntry {
  /** The whole content, if it lies in one piece of the source: good until the next entry is asked for. `body` has it as well. */
  content: Buffer | undefined;
}

/**
 * As `readTar`, with the same entries and the same errors, for the one place where it is most of the work: no stream and no
 * event stands between the bytes and their reader, so an entry costs less than half. `readTar`, on
 * tar-stream, remains for those that check the result against the layer.
 */
export async function* scanTar(
  source: AsyncIterable<Buffer>,
  name: string,
  { maxEntries = MAX_LAYER_ENTRIES }: { maxEntries?: number } = {},
): AsyncGenerator<ScannedEntry> {
  const headers = new TarHeaders(name);
  const tar = new TarBytes(source, name);
  let count = 0;
  try {
    while (!headers.atEnd) {
      const offset = tar.offset;
      const block =
        tar.take(TAR_BLOCK_SIZE) ?? ((await tar.hasEnded()) ? undefined : await tar.gather(TAR_BLOCK_SIZE));
      if (block === undefined) break;
      const raw = headers.take(block, offset);
      if (raw === undefined) continue;
      if (isExtended(raw.header)) {
        const size = raw.header.number('size', name);
        headers.extend(await tar.gather(size));
        await tar.passOver(padding(size));
        continue;
      }
      const { head, packedSize, sparse, isLabel, what } = decodeEntry(headers.finish(), name);
      tar.last = what.slice(name.length + 2);
      if (++count > maxEntries) {
        throw new RafterError('LIMIT_EXCEEDED', `${name}: more than ${maxEntries} entries`);
      }
      const packed = new Body(tar, packedSize);
      if (!isLabel) {
        const entry = head as ScannedEntry;
        entry.body = sparse ? expandSparse(sparse, packed, packedSize, what) : packed;
        entry.content = sparse ? undefined : tar.peek(packedSize);
        yield entry;
      }
      const rest = packed.left + padding(packedSize);
      if (tar.take(rest) === undefined) await tar.passOver(rest);
    }
    await tar.drain();
    headers.checkEnd();
  } finally {
    await tar.close();
  }
}

/** Bytes from the end of a body of `size` bytes to the next block. */
function padding(size: number): number {
  return (TAR_BLOCK_SIZE - (size % TAR_BLOCK_SIZE)) % TAR_BLOCK_SIZE;
}

/** A body's pieces. Stopping early leaves the rest to be read by the next loop over it, or to be passed over. */
class Body implements AsyncIterableIterator<Buffer> {
  left: number;
  readonly #tar: TarBytes;

  constructor(tar: TarBytes, size: number) {
    this.#tar = tar;
    this.left = size;
  }

  async next(): Promise<IteratorResult<Buffer, undefined>> {
    if (this.left === 0) return { done: true, value: undefined };
    const value = await this.#tar.some(this.left);
    this.left -= value.length;
    return { done: false, value };
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

/** The bytes of a tar, of which what lies in the current piece of the source is there at once. TRUNCATED if they end too early. */
class TarBytes {
  /** Offset in the tar of what comes next. */
  offset = 0;
  /** The last entry that was seen, for messages. */
  last = 'the first entry';
  readonly #pieces: AsyncIterator<Buffer>;
  readonly #name: string;
  #piece: Buffer = Buffer.alloc(0);
  #at = 0;

  constructor(source: AsyncIterable<Buffer>, name: string) {
    this.#pieces = source[Symbol.asyncIterator]();
    this.#name = name;
  }

  /** The next `size` bytes, which remain the next ones, if they lie in one piece that is there. */
  peek(size: number): Buffer | undefined {
    const end = this.#at + size;
    return end <= this.#piece.length ? this.#piece.subarray(this.#at, end) : undefined;
  }

  /** As `peek`, and takes them. */
  take(size: number): Buffer | undefined {
    const bytes = this.peek(size);
    if (bytes) {
      this.#at += size;
      this.offset += size;
    }
    return bytes;
  }

  /** Takes `size` bytes, into a buffer of their own. */
  async gather(size: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(size);
    for (let have = 0; have < size; ) have += (await this.some(size - have)).copy(bytes, have);
    return bytes;
  }

  /** True if no byte is left. */
  async hasEnded(): Promise<boolean> {
    while (this.#at === this.#piece.length) {
      const next = await this.#pieces.next();
      if (next.done) return true;
      this.#piece = next.value;
      this.#at = 0;
    }
    return false;
  }

  /** Takes between 1 and `most` bytes. */
  async some(most: number): Promise<Buffer> {
    if (await this.hasEnded()) throw this.#cutShort();
    return this.take(Math.min(most, this.#piece.length - this.#at))!;
  }

  async passOver(size: number): Promise<void> {
    for (let left = size; left > 0; ) left -= (await this.some(left)).length;
  }

  /** Reads the source to its end. */
  async drain(): Promise<void> {
    while (!(await this.#pieces.next()).done);
  }

  async close(): Promise<void> {
    await this.#pieces.return?.();
  }

  #cutShort(): RafterError {
    return new RafterError('TRUNCATED', `${this.#name}: the tar ends too early, in or behind ${this.last}`);
  }
}
