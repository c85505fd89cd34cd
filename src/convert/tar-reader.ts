import type { Extract } from 'tar-stream';
import { RafterError } from '../errors.js';
import { type DecodedEntry, decodeEntry } from './tar-decode.js';
import { MAX_LAYER_ENTRIES, type TarEntry, type TarEntryHead } from './tar-entry.js';
import { expandSparse } from './tar-sparse.js';
import { openTarStream, type TarStream } from './tar-stream-shim.js';

/**
 * The entries of a tar (V7, ustar, PAX, GNU, star) in order. Each entry's body has to be read before the next entry is
 * asked for, or it is passed over. `source` is read to its end, also behind the archive's end marker, so that a stream that
 * verifies itself gets to its verdict; its errors come through. A tar that stops between two entries without the marker is
 * taken, as all container tools do.
 * Errors name `name` and the entry: MALFORMED, LIMIT_EXCEEDED, UNSUPPORTED, and TRUNCATED for a tar that stops elsewhere.
 */
export async function* readTar(
  source: AsyncIterable<Buffer>,
  name: string,
  { maxEntries = MAX_LAYER_ENTRIES }: { maxEntries?: number } = {},
): AsyncGenerator<TarEntry> {
  let last = 'the first entry';
  const tar = openTarStream(name, (raw) => decodeEntry(raw, name));
  const feeding = feed(tar, source);
  // Its error also ends the extractor, and comes out there.
  feeding.catch(() => {});
  const explain = (error: unknown) =>
    isCutShort(error)
      ? new RafterError('TRUNCATED', `${name}: the tar ends too early, in or behind ${last}`)
      : error;
  let count = 0;
  try {
    for await (const stream of tar.extract as AsyncIterable<AsyncIterable<Buffer>>) {
      const entry = tar.current();
      last = entry.what.slice(name.length + 2);
      if (++count > maxEntries) {
        throw new RafterError('LIMIT_EXCEEDED', `${name}: more than ${maxEntries} entries`);
      }
      const packed = readBody(stream, explain);
      const { sparse, packedSize, what } = entry;
      const body = sparse ? expandSparse(sparse, packed, packedSize, what) : packed;
      if (!entry.isLabel) yield withBody(entry.head, body);
      if (packedSize > 0) for await (const _ of packed);
    }
    await feeding;
  } catch (error) {
    // What follows the end marker need not be whole blocks.
    if (!tar.headers.atEnd || !isCutShort(error)) throw explain(error);
    await feeding;
  } finally {
    tar.extract.destroy();
    await feeding.catch(() => {});
  }
  tar.headers.checkEnd();
}

/** Adds to the head itself: a copy of it would cost more than all else that is done for an entry. */
function withBody(head: TarEntryHead, body: AsyncIterable<Buffer>): TarEntry {
  const entry = head as TarEntry;
  entry.body = body;
  return entry;
}

/** tar-stream's error for a stream that ends inside a block or a body. */
function isCutShort(error: unknown): boolean {
  return error instanceof Error && error.message === 'Unexpected end of data';
}

/**
 * The body's pieces. Stopping early leaves the rest to be read by the next loop over it; a streamx stream itself would take
 * the whole extractor down.
 */
function readBody(
  stream: AsyncIterable<Buffer>,
  explain: (error: unknown) => unknown,
): AsyncIterable<Buffer> {
  const pieces = stream[Symbol.asyncIterator]();
  const next = async () => {
    try {
      return await pieces.next();
    } catch (error) {
      throw explain(error);
    }
  };
  return { [Symbol.asyncIterator]: () => ({ next }) };
}

async function feed(
  { extract, headers }: TarStream<DecodedEntry>,
  source: AsyncIterable<Buffer>,
): Promise<void> {
  try {
    for await (const piece of source) {
      if (extract.destroying) return;
      if (!headers.atEnd && !extract.write(piece)) await drained(extract);
    }
    extract.end(null);
  } catch (error) {
    extract.destroy(error as Error);
    throw error;
  }
}

/** Resolves when the extractor wants more, or will never want more. */
function drained(extract: Extract): Promise<void> {
  return new Promise<void>((resolve) => {
    const done = () => {
      extract.off('drain', done);
      extract.off('close', done);
      resolve();
    };
    extract.on('drain', done);
    extract.on('close', done);
  });
}
