import type { InodeType } from './tree.js';

/** S_IFMT bits of st_mode. */
const TYPE_MASK = 0o170000;

const MODE_BITS: Record<InodeType, number> = {
  fifo: 0o010000,
  char: 0o020000,
  dir: 0o040000,
  block: 0o060000,
  file: 0o100000,
  symlink: 0o120000,
  socket: 0o140000,
};

/** EROFS directory entry types: position = number; 0 is "unknown". */
const DIRENT_TYPES: readonly (InodeType | undefined)[] = [
  undefined,
  'file',
  'dir',
  'char',
  'block',
  'fifo',
  'socket',
  'symlink',
];

const TYPE_OF_MODE = new Map(Object.entries(MODE_BITS).map(([type, bits]) => [bits, type as InodeType]));

/** The type in the S_IFMT bits of `mode`, or undefined if they name none. */
export function typeOfMode(mode: number): InodeType | undefined {
  return TYPE_OF_MODE.get(mode & TYPE_MASK);
}

/** The type with number `type` in a directory entry, or undefined if there is none. */
export function typeOfDirent(type: number): InodeType | undefined {
  return DIRENT_TYPES[type];
}

/** The number of `type` in a directory entry. */
export function direntTypeOf(type: InodeType): number {
  return DIRENT_TYPES.indexOf(type);
}
