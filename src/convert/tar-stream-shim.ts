import { type Extract, extract } from 'tar-stream';
import { TAR_BLOCK_SIZE } from './tar-entry.js';
import { type RawTarEntry, TarHeaders } from './tar-headers.js';

/**
 * tar-stream moves the bytes: it finds headers, checks their sums and cuts the stream into bodies. What the headers say is
 * read by `TarHeaders`, from their raw bytes, because tar-stream decodes PAX values as UTF-8 (binary xattrs are lost), drops PAX
 * owners and times, reads negative base-256 numbers one off, merges global headers into sizes, and loses its place at GNU
 * sparse extension blocks. For this three of its private methods are replaced on the instance; `tar-stream-shim.test.ts`
 * fails if a new version has them no longer.
 */
interface ExtractInternals {
  /** Called when a whole block is buffered and no body is being read. False: come again after the current entry. */
  _consumeHeader(): boolean;
  /** Gets the content of an extended header (types x, g, L, K). */
  _decodeLongHeader(content: Buffer): void;
  /** Called for each entry before its body begins; `_header.size` then says how many bytes that has. */
  _applyLongHeaders(): void;
  _continueWrite(error: Error | null): void;
  _locked: boolean;
  _header: { size: number; type: string | null };
  _buffer: { shift(size: number): Buffer; shifted: number; buffered: number };
}

export interface TarStream<Entry> {
  extract: Extract;
  /** What `decode` made of the entry whose body is being handed out. */
  current(): Entry;
  headers: TarHeaders;
}

/**
 * A tar-stream extractor that keeps raw headers. `decode` gets each entry before its body begins and says how many bytes of
 * body stand behind its header. Errors (those of `TarHeaders` and of `decode`) come out of `extract`; `name` is what they call
 * the tar.
 */
export function openTarStream<Entry extends { packedSize: number }>(
  name: string,
  decode: (raw: RawTarEntry) => Entry,
): TarStream<Entry> {
  const stream = extract({ filenameEncoding: 'latin1', allowUnknownFormat: true } as object);
  const internals = stream as unknown as ExtractInternals;
  for (const method of [
    '_consumeHeader',
    '_decodeLongHeader',
    '_applyLongHeaders',
    '_continueWrite',
  ] as const) {
    if (typeof internals[method] !== 'function') throw new Error(`tar-stream has no ${method} any more`);
  }
  const consumeHeader = internals._consumeHeader.bind(stream);
  const headers = new TarHeaders(name);
  let current: Entry | undefined;

  internals._consumeHeader = () => {
    if (internals._locked) return false;
    try {
      const offset = internals._buffer.shifted;
      const raw = headers.take(internals._buffer.shift(TAR_BLOCK_SIZE), offset);
      if (raw === undefined) return true;
      // Hands the header block back: the first thing that tar-stream does is to shift it off its buffer.
      internals._buffer.shift = () => {
        delete (internals._buffer as { shift?: unknown }).shift;
        return raw.block;
      };
      return consumeHeader();
    } catch (error) {
      internals._continueWrite(error as Error);
      return false;
    }
  };
  internals._decodeLongHeader = (content) => headers.extend(content);
  internals._applyLongHeaders = () => {
    current = decode(headers.finish());
    internals._header.type = 'file';
    internals._header.size = current.packedSize;
  };
  return { extract: stream, current: () => current!, headers };
}
