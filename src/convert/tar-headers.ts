import { RafterError } from '../errors.js';
import { mergeGlobalRecords, type PaxRecord, parsePaxRecords } from '../image/archive/pax.js';
import { readTarHeader, type TarHeader, untilNul } from '../image/archive/tar-header.js';
import { MAX_EXTENDED_HEADER_SIZE, showPath, TAR_BLOCK_SIZE } from './tar-entry.js';
import { continuesSparseExtension, hasSparseExtension } from './tar-sparse.js';

/** What stands in front of an entry's body. */
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

const EXTENDED_TYPES = 'xgLK';
const KNOWN_TYPES = new Set(`\0${'01234567'}SV${EXTENDED_TYPES}`);

/**
 * Puts together the blocks in front of an entry's body: extended headers, its own header, the blocks of a sparse map. Whoever
 * moves the bytes gives every block that is no body's to `take`. Errors name `name`, which is what they call the tar.
 */
export class TarHeaders {
  readonly #name: string;
  #globals: PaxRecord[] = [];
  #next: RawTarEntry | undefined;
  #isSparse = false;
  #zeroBlocks = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /** True once two zero blocks were seen: what follows is not part of the archive. */
  get atEnd(): boolean {
    return this.#zeroBlocks === 2;
  }

  /**
   * Takes the next block, which stands at `offset`. The result is a header behind which a body begins: that of an extended header
   * (see `extendedSize`), to be given to `extend`, or that of an entry, which `finish` describes. The block has to stay as it is
   * until then. MALFORMED, LIMIT_EXCEEDED or UNSUPPORTED for headers that cannot be read.
   */
  take(block: Buffer, offset: number): RawTarEntry | undefined {
    if (this.atEnd) return undefined;
    if (this.#isSparse) return this.#takeSparse(block);
    if (isZero(block)) {
      this.#zeroBlocks++;
      return undefined;
    }
    this.#zeroBlocks = 0;
    const header = readTarHeader(block, `${this.#name}: at offset ${offset}`);
    // What extended headers in front of this one said goes with it.
    const { pax = [], longName, longLink } = this.#next ?? {};
    const next = { offset, header, block, pax, longName, longLink, sparseBlocks: [] };
    this.#next = next;
    const extendedSize = this.#checkType(next);
    if (header.type === 'S' && hasSparseExtension(block)) {
      // Nobody knows yet where the blocks behind it are: its own may be gone when they have come.
      next.block = Buffer.from(block);
      next.header = readTarHeader(next.block, `${this.#name}: at offset ${offset}`);
      this.#isSparse = true;
      return undefined;
    }
    return extendedSize === 0 ? undefined : next;
  }

  /** Takes the body of the extended header that `take` gave last, at most MAX_EXTENDED_HEADER_SIZE bytes that stay as they are. */
  extend(content: Buffer): void {
    const next = this.#next!;
    const what = `${this.#name}: extended header at offset ${next.offset}`;
    const { type } = next.header;
    if (type === 'L') next.longName = untilNul(content);
    else if (type === 'K') next.longLink = untilNul(content);
    else if (type === 'g') this.#globals = mergeGlobalRecords(this.#globals, parsePaxRecords(content, what));
    else next.pax = parsePaxRecords(content, what);
  }

  /** The entry whose header `take` gave last, with all that stood in front of it. */
  finish(): RawTarEntry {
    const entry = this.#next!;
    if (this.#globals.length > 0) entry.pax = [...this.#globals, ...entry.pax];
    this.#next = undefined;
    return entry;
  }

  /** TRUNCATED if the tar must not stop here. */
  checkEnd(): void {
    const next = this.#next;
    if (next === undefined) return;
    let missing: string | undefined;
    if (this.#isSparse) missing = `the sparse map of ${showPath(next.header.path)}`;
    else if (next.pax.length > 0 || next.longName || next.longLink) {
      missing = `the entry of the extended header at offset ${next.offset}`;
    }
    if (missing === undefined) return;
    throw new RafterError('TRUNCATED', `${this.#name}: the tar ends in front of ${missing}`);
  }

  #takeSparse(block: Buffer): RawTarEntry | undefined {
    const entry = this.#next!;
    entry.sparseBlocks.push(Buffer.from(block));
    if (entry.sparseBlocks.length * TAR_BLOCK_SIZE > MAX_EXTENDED_HEADER_SIZE) {
      throw new RafterError(
        'LIMIT_EXCEEDED',
        `${this.#name}: the sparse map at offset ${entry.offset} is too long`,
      );
    }
    if (continuesSparseExtension(block)) return undefined;
    this.#isSparse = false;
    return entry;
  }

  /** The size of an extended header's body; undefined for another header. */
  #checkType({ header, longName, offset }: RawTarEntry): number | undefined {
    const size = isExtended(header) ? header.number('size', this.#name) : undefined;
    if (KNOWN_TYPES.has(header.type) && size === undefined) return undefined;
    const what = `${this.#name}: entry ${showPath(longName ?? header.path)} at offset ${offset}`;
    if (size === undefined) {
      throw new RafterError('UNSUPPORTED', `${what} has the unknown type ${JSON.stringify(header.type)}`);
    }
    if (size < 0) throw new RafterError('MALFORMED', `${what}: negative size`);
    if (size <= MAX_EXTENDED_HEADER_SIZE) return size;
    throw new RafterError(
      'LIMIT_EXCEEDED',
      `${what}: an extended header above ${MAX_EXTENDED_HEADER_SIZE} bytes`,
    );
  }
}

/** True if what stands behind the header is not a body but more about the next entry, or about all that follow. */
export function isExtended({ type }: TarHeader): boolean {
  return EXTENDED_TYPES.includes(type);
}

function isZero(block: Buffer): boolean {
  return block[0] === 0 && block.every((byte) => byte === 0);
}
