import { type Extract, extract } from 'tar-stream';
import { RafterError } from '../errors.js';
import { mergeGlobalRecords, type PaxRecord, parsePaxRecords } from '../image/pax.js';
import { readTarHeader, type TarHeader, untilNul } from '../image/tar-header.js';
import { MAX_EXTENDED_HEADER_SIZE, showPath, TAR_BLOCK_SIZE } from './tar-entry.js';
import { continuesSparseExtension, hasSparseExtension } from './tar-sparse.js';

/**
 * tar-stream moves the bytes: it finds headers, checks their sums and cuts the stream into bodies. What the headers say is
 * read here, from their raw bytes, because tar-stream decodes PAX values as UTF-8 (binary xattrs are lost), drops PAX
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

/** What stands in front of the body that tar-stream hands out now. */
export interface RawTarEntry {
  /** Offset of the header block in the tar. */
  offset: number;
  header: TarHeader;
  block: Buffer;
  /** Records of the entry's own PAX header, behind those of global headers that apply. */
  pax: PaxRecord[];
  longName: Buffer | undefined;
  longLink: Buffer | undefined;
  /** Extension blocks of a GNU sparse entry. */
  sparseBlocks: Buffer[];
}

export interface TarStream<Entry> {
  extract: Extract;
  /** What `decode` made of the entry whose body is being handed out. */
  current(): Entry;
  /** True once two zero blocks were seen: what follows is not part of the archive. */
  atEnd(): boolean;
  /** What is missing if the tar stops now, undefined if it may stop here. */
  pending(): string | undefined;
}

const EXTENDED_TYPES = 'xgLK';
const KNOWN_TYPES = new Set(`\0${'01234567'}SV${EXTENDED_TYPES}`);

/**
 * A tar-stream extractor that keeps raw headers. `decode` gets each entry before its body begins and says how many bytes of
 * body stand behind its header. Errors (MALFORMED, LIMIT_EXCEEDED, UNSUPPORTED, those of `decode`) come out of `extract`;
 * `name` is what they call the tar.
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
  let globals: PaxRecord[] = [];
  let next: RawTarEntry | undefined;
  let current: Entry | undefined;
  let extensions: RawTarEntry | undefined;
  let zeroBlocks = 0;

  /** Deals with a block. The result is the header that tar-stream has to see, if it has to see one. */
  const take = (block: Buffer, offset: number): Buffer | undefined => {
    if (zeroBlocks === 2) return undefined;
    if (extensions) return takeExtension(extensions, block);
    if (isZero(block)) {
      zeroBlocks++;
      return undefined;
    }
    zeroBlocks = 0;
    const header = readTarHeader(block, `${name}: at offset ${offset}`);
    // What extended headers in front of this one said goes with it.
    const { pax = [], longName, longLink } = next ?? {};
    next = { offset, header, block, pax, longName, longLink, sparseBlocks: [] };
    checkType(next, name);
    if (header.type === 'S' && hasSparseExtension(block)) {
      extensions = next;
      return undefined;
    }
    // tar-stream takes the next entry's padding for the content of an extended header that has none.
    const isEmpty = EXTENDED_TYPES.includes(header.type) && header.number('size', name) === 0;
    return isEmpty ? undefined : next.block;
  };

  const takeExtension = (entry: RawTarEntry, block: Buffer): Buffer | undefined => {
    entry.sparseBlocks.push(Buffer.from(block));
    if (entry.sparseBlocks.length * TAR_BLOCK_SIZE > MAX_EXTENDED_HEADER_SIZE) {
      throw new RafterError(
        'LIMIT_EXCEEDED',
        `${name}: the sparse map at offset ${entry.offset} is too long`,
      );
    }
    if (continuesSparseExtension(block)) return undefined;
    extensions = undefined;
    return entry.block;
  };

  internals._consumeHeader = () => {
    if (internals._locked) return false;
    try {
      const offset = internals._buffer.shifted;
      const block = internals._buffer.shift(TAR_BLOCK_SIZE);
      const header = take(block, offset);
      if (header === undefined) return true;
      // Hands the header block back: the first thing that tar-stream does is to shift it off its buffer.
      internals._buffer.shift = () => {
        delete (internals._buffer as { shift?: unknown }).shift;
        return header;
      };
      return consumeHeader();
    } catch (error) {
      internals._continueWrite(error as Error);
      return false;
    }
  };
  internals._decodeLongHeader = (content) => {
    const entry = next!;
    const what = `${name}: extended header at offset ${entry.offset}`;
    const { type } = entry.header;
    if (type === 'L') entry.longName = untilNul(content);
    else if (type === 'K') entry.longLink = untilNul(content);
    else if (type === 'g') globals = mergeGlobalRecords(globals, parsePaxRecords(content, what));
    else entry.pax = parsePaxRecords(content, what);
  };
  internals._applyLongHeaders = () => {
    if (globals.length > 0) next!.pax = [...globals, ...next!.pax];
    current = decode(next!);
    next = undefined;
    internals._header.type = 'file';
    internals._header.size = current.packedSize;
  };

  return {
    extract: stream,
    current: () => current!,
    atEnd: () => zeroBlocks === 2,
    pending: () => {
      if (extensions) return `the sparse map of ${showPath(extensions.header.path)}`;
      const isAnnounced = next && (next.pax.length > 0 || next.longName || next.longLink);
      return isAnnounced ? `the entry of the extended header at offset ${next!.offset}` : undefined;
    },
  };
}

function isZero(block: Buffer): boolean {
  return block[0] === 0 && block.every((byte) => byte === 0);
}

function checkType({ header, longName, offset }: RawTarEntry, name: string): void {
  const isExtended = EXTENDED_TYPES.includes(header.type);
  if (KNOWN_TYPES.has(header.type) && !isExtended) return;
  const what = `${name}: entry ${showPath(longName ?? header.path)} at offset ${offset}`;
  if (!KNOWN_TYPES.has(header.type)) {
    throw new RafterError('UNSUPPORTED', `${what} has the unknown type ${JSON.stringify(header.type)}`);
  }
  if (header.number('size', what) > MAX_EXTENDED_HEADER_SIZE) {
    throw new RafterError(
      'LIMIT_EXCEEDED',
      `${what}: an extended header above ${MAX_EXTENDED_HEADER_SIZE} bytes`,
    );
  }
}
