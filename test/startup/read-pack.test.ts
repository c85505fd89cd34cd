import { Readable } from 'node:stream';
import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type OpenPack, openPack, type PackReference } from '../../src/startup/read-pack.js';
import { MAX_UNIT_SIZE } from '../../src/startup/table.js';
import { propertyRuns } from '../support/property.js';
import { inSteps, packOf, type SamplePiece, sampleBytes } from './sample-pack.js';

const pieces: SamplePiece[] = [
  ['aa', 8192, sampleBytes(4096)],
  ['bb', 0, sampleBytes(2 * MAX_UNIT_SIZE + 100, 2)],
  ['aa', 0, sampleBytes(77, 3)],
];
const sample = packOf(pieces, { readAhead: 8 });

async function readAll({ table, units }: OpenPack): Promise<[string, number, Buffer][]> {
  const decoded: Buffer[] = [];
  for await (const unit of units) decoded.push(Buffer.from(unit));
  const all = Buffer.concat(decoded);
  return table.pieces.map(({ blob, offset, length, position }) => [
    table.blobs[blob]!,
    offset,
    all.subarray(position, position + length),
  ]);
}

it.each([1 << 20, 1000, 64 * 1024 + 1])('reads what was packed, in parts of %i bytes', async (step) => {
  const pack = await openPack(inSteps(sample.file, step), sample.reference);
  expect(pack.table.readAhead).toBe(8);
  const found = await readAll(pack);
  // The long one is in three units, the last of which it shares.
  expect(found.map(([blob, offset, { length }]) => [blob, offset, length])).toEqual([
    ['aa', 8192, 4096],
    ['bb', 0, MAX_UNIT_SIZE - 4096],
    ['bb', MAX_UNIT_SIZE - 4096, MAX_UNIT_SIZE],
    ['bb', 2 * MAX_UNIT_SIZE - 4096, 4196],
    ['aa', 0, 77],
  ]);
  expect(found[0]![2].equals(pieces[0]![2])).toBe(true);
  expect(Buffer.concat(found.slice(1, 4).map(([, , bytes]) => bytes)).equals(pieces[1]![2])).toBe(true);
  expect(found[4]![2].equals(pieces[2]![2])).toBe(true);
});

it('gives the table, and each unit, before the rest has come, and takes no more than that', async () => {
  let given = 0;
  let ended = false;
  async function* watched() {
    try {
      for await (const part of inSteps(sample.file, 100)) {
        given += part.length;
        yield part;
      }
    } finally {
      ended = true;
    }
  }
  const { table, units } = await openPack(watched(), sample.reference);
  expect(given).toBeLessThan(sample.reference.tableSize + 100);
  await units.next();
  expect(given).toBeLessThan(table.units[1]!.storedOffset + 100);
  await units.return();
  expect(ended).toBe(true);
});

it('lets go of a stream whose units nobody has begun to read', async () => {
  const stream = Readable.from(inSteps(sample.file, 100));
  const { units, end } = await openPack(stream, sample.reference);
  await units.return();
  expect(stream.destroyed).toBe(false);
  await end();
  expect(stream.destroyed).toBe(true);
});

it('the same pieces give the same bytes', () => {
  const [first, , last] = pieces as [SamplePiece, SamplePiece, SamplePiece];
  expect(packOf([first, last]).file.equals(packOf([first, last]).file)).toBe(true);
});

it('believes neither a wrong table nor a wrong unit, nor what was cut', async () => {
  const { file, reference } = sample;
  const open = (bytes: Buffer, change: Partial<PackReference> = {}) =>
    openPack(inSteps(bytes, 1 << 16), { ...reference, ...change });
  const flipped = (at: number) => {
    const copy = Buffer.from(file);
    copy[at]! ^= 1;
    return copy;
  };
  await expect(open(flipped(30))).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
  await expect(open(file, { size: file.length + 1 })).rejects.toThrow(`its table describes ${file.length}`);
  await expect(open(file, { tableSize: 63 })).rejects.toMatchObject({ code: 'MALFORMED' });
  await expect(open(file, { tableSize: file.length + 1 })).rejects.toMatchObject({ code: 'MALFORMED' });
  await expect(open(file.subarray(0, 70))).rejects.toMatchObject({ code: 'TRUNCATED' });
  const second = (await open(file)).table.units[1]!.storedOffset;
  const damaged = await open(flipped(second + 5));
  await damaged.units.next();
  await expect(damaged.units.next()).rejects.toThrow(`pack: unit 1 at offset ${second} is damaged`);
  const longer = await open(Buffer.concat([file, Buffer.alloc(1)]));
  await expect(readAll(longer)).rejects.toThrow(`pack: has more than ${file.length} bytes`);
  const cut = await open(file.subarray(0, -1));
  await expect(readAll(cut)).rejects.toMatchObject({
    code: 'TRUNCATED',
    message: `pack: ends at byte ${file.length - 1}`,
  });
});

it('any pieces come back', async () => {
  const piece = fc.tuple(fc.constantFrom('a', 'b', 'c'), fc.nat(200), fc.nat(9000));
  await fc.assert(
    fc.asyncProperty(
      fc.array(piece, { maxLength: 20 }),
      fc.integer({ min: 1, max: 1 << 19 }),
      async (shape, step) => {
        const ends = new Map<string, number>();
        const made = shape
          .filter(([, , length]) => length > 0)
          .map(([blob, gap, length], i): SamplePiece => {
            const offset = (ends.get(blob) ?? 0) + gap;
            ends.set(blob, offset + length);
            return [blob, offset, sampleBytes(length, i + 1)];
          });
        const { file, reference } = packOf(made);
        const found = await readAll(await openPack(inSteps(file, step), reference));
        for (const [blob, offset, bytes] of made) {
          const parts = found.filter(
            (one) => one[0] === blob && one[1] >= offset && one[1] < offset + bytes.length,
          );
          expect(Buffer.concat(parts.map((one) => one[2])).equals(bytes)).toBe(true);
        }
        expect(found.reduce((sum, [, , { length }]) => sum + length, 0)).toBe(
          made.reduce((sum, [, , { length }]) => sum + length, 0),
        );
      },
    ),
    propertyRuns(10),
  );
});
