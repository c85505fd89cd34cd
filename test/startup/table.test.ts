import { describe, expect, it } from 'vitest';
import {
  encodeTable,
  HEADER_SIZE,
  MAX_BLOBS,
  MAX_PIECES,
  MAX_READ_AHEAD,
  MAX_STORED_TABLE_SIZE,
  MAX_UNIT_SIZE,
  MAX_UNITS,
  parseTable,
  type TableParts,
} from '../../src/startup/table.js';
import { fuzz } from '../support/fuzz.js';
import { mutate, overwrite, placesOf } from '../support/mutate.js';

const digest = Buffer.alloc(32, 7);
const parts: TableParts = {
  readAhead: 16,
  blobs: ['aa', 'b0'],
  units: [
    { storedSize: 100, decodedSize: 12_288, pieceCount: 2, digest },
    { storedSize: 50, decodedSize: 10, pieceCount: 1, digest },
  ],
  pieces: [
    { blob: 1, offset: 4096, length: 4096 },
    { blob: 0, offset: 8192, length: 8192 },
    { blob: 1, offset: 0, length: 10 },
  ],
};
const good = encodeTable(parts);
const unit = (change: Partial<TableParts['units'][number]>) => ({ ...parts.units[0]!, ...change });
const piece = (change: Partial<TableParts['pieces'][number]>) => ({ ...parts.pieces[0]!, ...change });

it('reads what was written', () => {
  const table = parseTable(good, 'pack');
  expect(table).toMatchObject({
    readAhead: 16,
    blobs: ['aa', 'b0'],
    size: good.length + 150,
    decodedSize: 12_298,
  });
  expect(table.pieces).toEqual([
    { blob: 1, offset: 4096, length: 4096, position: 0, unit: 0 },
    { blob: 0, offset: 8192, length: 8192, position: 4096, unit: 0 },
    { blob: 1, offset: 0, length: 10, position: 12_288, unit: 1 },
  ]);
  expect(table.units[1]).toMatchObject({ storedOffset: good.length + 100, position: 12_288, digest });
});

it('a pack of nothing is one', () => {
  const bytes = encodeTable({ readAhead: 0, blobs: [], units: [], pieces: [] });
  expect(parseTable(bytes, 'pack')).toMatchObject({
    pieces: [],
    units: [],
    size: bytes.length,
    decodedSize: 0,
  });
});

describe('names the field and the offset of what is wrong', () => {
  const wrong: [string, Partial<TableParts>, string][] = [
    [
      'an id that is no file name',
      { blobs: ['../x', 'b0'] },
      'id of blob 0 at offset 0: not letters and digits',
    ],
    ['an empty id', { blobs: ['aa', ''] }, 'id of blob 1 at offset 64'],
    ['a blob that is there twice', { blobs: ['aa', 'aa'] }, 'id of blob 1 at offset 64: there twice'],
    [
      'an empty unit',
      { units: [unit({ storedSize: 0 }), parts.units[1]!] },
      'stored size of unit 0 at offset 128: 0',
    ],
    [
      'a unit that says more than its pieces have',
      { units: [unit({ decodedSize: 12_289 }), parts.units[1]!] },
      'decoded size of unit 0 at offset 132: 12289, but its pieces have 12288',
    ],
    [
      'a unit that says less',
      { units: [parts.units[0]!, unit({ decodedSize: 9, pieceCount: 1 })] },
      'decoded size of unit 1 at offset 180',
    ],
    [
      'pieces that are in no unit',
      { units: [unit({})] },
      'piece count at offset 24: 3, but the units have others',
    ],
    [
      'a blob that is not listed',
      { pieces: [piece({ blob: 2 }), ...parts.pieces.slice(1)] },
      'blob of piece 0 at offset 236: 2 of 2',
    ],
    [
      'an offset beyond all numbers',
      { pieces: [piece({ offset: 2 ** 53 }), ...parts.pieces.slice(1)] },
      'offset of piece 0 at offset 224',
    ],
    [
      'pieces that overlap',
      { pieces: [...parts.pieces.slice(0, 2), { blob: 1, offset: 8191, length: 10 }] },
      'offset of piece 2 at offset 256: overlaps piece 0',
    ],
  ];
  it.each(wrong)('%s', (_, change, message) => {
    const bytes = encodeTable({ ...parts, ...change });
    expect(() => parseTable(bytes, 'pack')).toThrowError(
      expect.objectContaining({ code: 'MALFORMED', message: expect.stringContaining(`pack: ${message}`) }),
    );
  });
});

it('refuses what is no pack, is cut, has more behind it, or reserved bytes set', () => {
  const changed = (at: number, value: number) => {
    const copy = Buffer.from(good);
    copy[at] = value;
    return copy;
  };
  const refused = (bytes: Buffer) => expect(() => parseTable(bytes, 'pack'));
  refused(changed(0, 0)).toThrow('magic at offset 0');
  refused(changed(8, 2)).toThrow('version 2');
  refused(changed(40, 1)).toThrow('reserved bytes at offset 40: 1 instead of 0');
  refused(good.subarray(0, HEADER_SIZE - 1)).toThrow('header at offset 0');
  refused(good.subarray(0, -1)).toThrow('table size at offset 12');
  refused(Buffer.concat([good, Buffer.alloc(1)])).toThrow('table size at offset 12');
  refused(changed(HEADER_SIZE, 0)).toThrow('table at offset 64: zstd unit does not decode');
});

it.each([
  ['table size', 12, MAX_STORED_TABLE_SIZE],
  ['blob count', 16, MAX_BLOBS],
  ['unit count', 20, MAX_UNITS],
  ['piece count', 24, MAX_PIECES],
  ['read-ahead', 28, MAX_READ_AHEAD],
])('%s has a limit', (field, at, limit) => {
  const changed = (value: number) => {
    const copy = Buffer.from(good);
    copy.writeUInt32LE(value, at);
    return () => parseTable(copy, 'pack');
  };
  const message = `pack: ${field} at offset ${at}: ${limit + 1}, at most ${limit}`;
  expect(changed(limit + 1)).toThrowError(expect.objectContaining({ code: 'LIMIT_EXCEEDED', message }));
  // At the limit another check speaks, or none.
  if (field === 'read-ahead') expect(changed(limit)().readAhead).toBe(limit);
  else expect(changed(limit)).toThrowError(expect.objectContaining({ code: 'MALFORMED' }));
});

it('a unit has a limit, too', () => {
  const sized = (size: number) =>
    encodeTable({
      ...parts,
      units: [unit({ decodedSize: size, pieceCount: 1 })],
      pieces: [piece({ length: size })],
    });
  expect(parseTable(sized(MAX_UNIT_SIZE), 'pack').decodedSize).toBe(MAX_UNIT_SIZE);
  expect(() => parseTable(sized(MAX_UNIT_SIZE + 1), 'pack')).toThrow(`at most ${MAX_UNIT_SIZE}`);
});

const places = placesOf(good.subarray(0, HEADER_SIZE));
fuzz('damaged tables', {
  name: 'pack',
  run: (next) => parseTable(next(2) === 0 ? overwrite(good, places, next) : mutate(good, next), 'pack'),
});
