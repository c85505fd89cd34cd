import type { FileHandle } from 'node:fs/promises';
import { posix } from 'node:path';
import { RafterError } from '../../errors.js';
import { type FileRange, readExactly } from '../file-range.js';
import { printable } from '../printable.js';
import { lastValues, parsePaxRecords } from './pax.js';
import { readTarHeader, type TarHeader, untilNul } from './tar-header.js';
import { parsePaxNumber } from './tar-numbers.js';
import { TAR_BLOCK } from './ustar.js';

/** Most entries of an archive, and most bytes of one extended header (as Go's archive/tar has it). */
const MAX_ARCHIVE_ENTRIES = 1 << 16;
export const MAX_EXTENSION_SIZE = 1 << 20;
/** Bytes that are read with a header: those of small files come along. */
const WINDOW_SIZE = 32 << 10;
/** Most links from one name to the next. */
const MAX_LINKS = 16;

/** Types of entries whose headers say nothing of what follows them: links, devices, directories and fifos have no content. */
const WITHOUT_CONTENT = new Set(['1', '2', '3', '4', '5', '6']);

/** What a name of an archive stands for. */
type Member = FileRange | { link: string } | 'sparse';

/** Where the files of a tar are. */
export interface TarIndex {
  /**
   * The content of the regular file with this name, also through symbolic and hard links; undefined if there is none. Of several
   * entries with one name the last counts, as it does for whoever unpacks. UNSUPPORTED for a sparse file.
   */
  find(name: string): FileRange | undefined;
  /** Names of regular files and links, as `find` takes them, in the archive's order. */
  names(): string[];
}

/**
 * Finds the entries of a tar (V7, ustar, PAX, GNU) without reading the files in it. `size` is the tar's, in bytes. Errors name
 * `name` and the offset: MALFORMED, LIMIT_EXCEEDED, and TRUNCATED for a tar that ends inside an entry.
 */
export async function indexTar(
  handle: FileHandle,
  { size, name, maxEntries = MAX_ARCHIVE_ENTRIES }: { size: number; name: string; maxEntries?: number },
): Promise<TarIndex> {
  const members = new Map<string, Member>();
  const nextBlock = blockReader(handle, size);
  let zeroBlocks = 0;
  let extension: Extension = {};
  let entries = 0;
  for (let at = 0; at < size && zeroBlocks < 2; ) {
    const what = `${name}: the tar entry at offset ${at}`;
    const block = await nextBlock(at, what);
    at += TAR_BLOCK;
    if (block.every((byte) => byte === 0)) {
      zeroBlocks++;
      continue;
    }
    zeroBlocks = 0;
    if (++entries > maxEntries) {
      throw new RafterError('LIMIT_EXCEEDED', `${name}: more than ${maxEntries} tar entries`);
    }
    const header = readTarHeader(block, what);
    const content = { offset: at, size: contentSize(header, extension, what) };
    if ('xgLK'.includes(header.type)) {
      if (content.size > MAX_EXTENSION_SIZE) {
        throw new RafterError(
          'LIMIT_EXCEEDED',
          `${what}: an extended header above ${MAX_EXTENSION_SIZE} bytes`,
        );
      }
      const bytes = await readPart(handle, content, { size, what });
      extension = extend(extension, header.type, bytes, what);
    } else {
      if (content.offset + content.size > size) throw cutShort(what);
      const entryName = extension.path ?? header.path;
      const member = memberOf(header, content, extension);
      if (member !== undefined) members.set(normalized(entryName), member);
      extension = {};
    }
    at += Math.ceil(content.size / TAR_BLOCK) * TAR_BLOCK;
  }
  return {
    find: (wanted) => follow(members, wanted, name),
    names: () => [...members.keys()].map((key) => key.slice(1)),
  };
}

/** What extended headers say of the next entry. */
interface Extension {
  path?: Buffer | undefined;
  link?: Buffer | undefined;
  size?: Buffer | undefined;
  isSparse?: boolean;
}

function extend(before: Extension, type: string, bytes: Buffer, what: string): Extension {
  if (type === 'L') return { ...before, path: untilNul(bytes) };
  if (type === 'K') return { ...before, link: untilNul(bytes) };
  const records = parsePaxRecords(bytes, what);
  // Names, sizes and links that are the same for all entries make no sense.
  if (type === 'g') return before;
  const values = lastValues(records);
  return {
    path: before.path ?? values.get('path'),
    link: before.link ?? values.get('linkpath'),
    size: values.get('size'),
    isSparse: records.some(([key]) => key.startsWith('GNU.sparse.')),
  };
}

function contentSize(header: TarHeader, extension: Extension, what: string): number {
  if (WITHOUT_CONTENT.has(header.type)) return 0;
  const isExtension = 'xgLK'.includes(header.type);
  const size =
    extension.size && !isExtension
      ? parsePaxNumber(extension.size, `${what}: size`)
      : header.number('size', what);
  if (size < 0) throw new RafterError('MALFORMED', `${what}: negative size`);
  return size;
}

function memberOf(header: TarHeader, content: FileRange, extension: Extension): Member | undefined {
  const target = (extension.link ?? header.linkName).toString();
  const path = normalized(extension.path ?? header.path);
  switch (header.type) {
    case '\0':
    case '0':
    case '7':
      return extension.isSparse ? 'sparse' : content;
    case 'S':
      return 'sparse';
    case '1':
      return { link: normalized(Buffer.from(target)) };
    case '2':
      return { link: posix.resolve(posix.dirname(path), target) };
    default:
      return undefined;
  }
}

/** Absolute, without `.`, `..` and repeated slashes. */
function normalized(name: Buffer): string {
  return posix.resolve('/', name.toString());
}

function follow(members: Map<string, Member>, name: string, archive: string): FileRange | undefined {
  let path = normalized(Buffer.from(name));
  for (let links = 0; links <= MAX_LINKS; links++) {
    const member = members.get(path);
    if (member === undefined) return undefined;
    if (member === 'sparse') {
      throw new RafterError('UNSUPPORTED', `${archive}: ${printable(name)} is stored as a sparse file`, {
        hint: 'write the archive again without tar --sparse',
      });
    }
    if (!('link' in member)) return member;
    path = member.link;
  }
  return undefined;
}

/** Reads single blocks, in the order of their offsets. */
function blockReader(handle: FileHandle, size: number): (at: number, what: string) => Promise<Buffer> {
  let window: Buffer = Buffer.alloc(0);
  let start = 0;
  return async (at, what) => {
    if (at + TAR_BLOCK > size) throw cutShort(what);
    if (at + TAR_BLOCK > start + window.length) {
      start = at;
      window = await readExactly(handle, { offset: at, size: Math.min(WINDOW_SIZE, size - at) }, what);
    }
    return window.subarray(at - start, at - start + TAR_BLOCK);
  };
}

async function readPart(
  handle: FileHandle,
  range: FileRange,
  { size, what }: { size: number; what: string },
): Promise<Buffer> {
  if (range.offset + range.size > size) throw cutShort(what);
  return readExactly(handle, range, what);
}

function cutShort(what: string): RafterError {
  return new RafterError('TRUNCATED', `${what}: the archive ends within it`, {
    hint: 'it is no tar file, or was not written or copied to its end',
  });
}
