import type { ElfFacts } from './file-facts.js';

/** First bytes of a file that are kept until its dynamic section is seen: the string table lies in them. */
export const MAX_ELF_PREFIX = 8 << 20;
/** Most bytes of the program headers, of the dynamic section and of one string. */
const MAX_HEADERS = 64;
const MAX_DYNAMIC_SIZE = 64 << 10;
const MAX_STRING_SIZE = 4096;
const MAX_NEEDED = 512;

/** ELF: `e_ident`, `p_type` and `d_tag` values. */
const MAGIC = 0x7f454c46;
const PT = { LOAD: 1, DYNAMIC: 2, INTERP: 3 };
const DT = { NULL: 0, NEEDED: 1, STRTAB: 5, RPATH: 15, RUNPATH: 29 };

interface Range {
  offset: number;
  size: number;
}

interface Header {
  is64: boolean;
  machine: number;
  interpreter: Range | undefined;
  dynamic: Range | undefined;
  loads: (Range & { address: number })[];
}

/** True if `bytes`, the first of a file, are those of an ELF file. */
export function isElf(bytes: Buffer): boolean {
  return bytes.length >= 64 && bytes.readUInt32BE(0) === MAGIC;
}

/**
 * Reads the program headers from the first bytes of a file. Undefined for what is no little-endian ELF file whose headers lie
 * there.
 */
function readHeader(bytes: Buffer): Header | undefined {
  const is64 = bytes[4] === 2;
  if (!isElf(bytes) || bytes[5] !== 1 || (!is64 && bytes[4] !== 1)) return undefined;
  const machine = bytes.readUInt16LE(18) * 2 + Number(is64);
  const table = is64 ? readNumber(bytes, 32) : bytes.readUInt32LE(28);
  const [entrySize, count] = [bytes.readUInt16LE(is64 ? 54 : 42), bytes.readUInt16LE(is64 ? 56 : 44)];
  if (entrySize < (is64 ? 56 : 32) || count > MAX_HEADERS || table + count * entrySize > bytes.length)
    return undefined;
  const header: Header = { is64, machine, interpreter: undefined, dynamic: undefined, loads: [] };
  for (let at = table; at < table + count * entrySize; at += entrySize) {
    const field = (index64: number, index32: number) =>
      is64 ? readNumber(bytes, at + index64) : bytes.readUInt32LE(at + index32);
    const range = { offset: field(8, 4), size: field(32, 16) };
    const type = bytes.readUInt32LE(at);
    if (type === PT.LOAD) header.loads.push({ ...range, address: field(16, 8) });
    else if (type === PT.DYNAMIC) header.dynamic = range;
    else if (type === PT.INTERP) header.interpreter = range;
  }
  return header;
}

/**
 * Takes the pieces of one file, in order, and tells what the dynamic linker will look for. Keeps `MAX_ELF_PREFIX` bytes at most, in
 * `scratch` where a file has more than one piece. What cannot be understood is no fact: nothing is thrown for any bytes.
 */
export class ElfReader {
  readonly #scratch: () => Buffer;
  #prefix: Buffer | undefined;
  #header: Header | undefined;
  #dynamic: Buffer | undefined;
  #at = 0;

  constructor(scratch: () => Buffer) {
    this.#scratch = scratch;
  }

  /** `isLast` saves a copy. False if the rest of the file says nothing. */
  feed(bytes: Buffer, isLast: boolean): boolean {
    if (this.#at === 0) {
      this.#header = readHeader(bytes);
      const { dynamic } = this.#header ?? {};
      if (!dynamic || dynamic.size > MAX_DYNAMIC_SIZE) this.#header = undefined;
      else this.#dynamic = Buffer.alloc(dynamic.size);
    }
    if (this.#header === undefined) return false;
    this.#keepPrefix(bytes, isLast);
    const { offset, size } = this.#header.dynamic!;
    const [from, to] = [Math.max(offset, this.#at), Math.min(offset + size, this.#at + bytes.length)];
    if (from < to) bytes.copy(this.#dynamic!, from - offset, from - this.#at, to - this.#at);
    this.#at += bytes.length;
    return this.#at < Math.max(MAX_ELF_PREFIX, offset + size);
  }

  finish(): ElfFacts | undefined {
    const [header, dynamic, prefix] = [this.#header, this.#dynamic, this.#prefix];
    if (!header || !dynamic || !prefix) return undefined;
    const { machine, interpreter } = header;
    const facts: ElfFacts = { machine, needed: [], rpath: [], runpath: [] };
    const program = interpreter && stringAt(prefix, interpreter.offset);
    if (program) facts.interpreter = program;
    const entries = [...dynamicEntries(dynamic, header.is64)];
    const address = entries.find(([tag]) => tag === DT.STRTAB)?.[1] ?? 0;
    const load = header.loads.find((each) => address >= each.address && address < each.address + each.size);
    if (!load) return facts;
    const strings = load.offset + address - load.address;
    for (const [tag, value] of entries) {
      const list = ({ [DT.NEEDED]: 'needed', [DT.RPATH]: 'rpath', [DT.RUNPATH]: 'runpath' } as const)[tag];
      const text = list && stringAt(prefix, strings + value);
      if (!text) continue;
      if (list !== 'needed') facts[list].push(...text.split(':').slice(0, MAX_NEEDED));
      else if (facts.needed.length < MAX_NEEDED) facts.needed.push(text);
    }
    return facts;
  }

  #keepPrefix(bytes: Buffer, isLast: boolean): void {
    if (this.#at === 0 && isLast) {
      this.#prefix = bytes.subarray(0, MAX_ELF_PREFIX);
      return;
    }
    const copied = bytes.copy(this.#scratch(), Math.min(this.#at, MAX_ELF_PREFIX));
    this.#prefix = this.#scratch().subarray(0, Math.min(this.#at, MAX_ELF_PREFIX) + copied);
  }
}

function* dynamicEntries(bytes: Buffer, is64: boolean): Generator<[tag: number, value: number]> {
  const size = is64 ? 16 : 8;
  for (let at = 0; at + size <= bytes.length; at += size) {
    const tag = is64 ? readNumber(bytes, at) : bytes.readUInt32LE(at);
    if (tag === DT.NULL) return;
    yield [tag, is64 ? readNumber(bytes, at + 8) : bytes.readUInt32LE(at + 4)];
  }
}

/** Text up to the next NUL; undefined if it does not end in `bytes`, or too late. */
function stringAt(bytes: Buffer, offset: number): string | undefined {
  if (offset >= bytes.length) return undefined;
  const end = bytes.indexOf(0, offset);
  if (end < 0 || end - offset > MAX_STRING_SIZE) return undefined;
  return bytes.toString('latin1', offset, end);
}

/** Eight bytes; what is too large for a file's offset stays too large. */
function readNumber(bytes: Buffer, at: number): number {
  return bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
}
