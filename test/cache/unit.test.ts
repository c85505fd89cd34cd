import { expect, it } from 'vitest';
import { decodeUnit, unitOf } from '../../src/cache/unit.js';
import { sampleBlob } from './sample-blob.js';

it('a batch is one unit whichever member is asked for', () => {
  const { layout, chunks } = sampleBlob([500, [10, 20, 30], [40, 50], 600]);
  const members = (index: number) => unitOf(layout, chunks[index]!).members.map((chunk) => chunk.index);
  expect([0, 1, 2, 3, 4, 5, 6].map(members)).toEqual([
    [0],
    [1, 2, 3],
    [1, 2, 3],
    [1, 2, 3],
    [4, 5],
    [4, 5],
    [6],
  ]);
  const { storedOffset, storedSize, decodedSize } = unitOf(layout, chunks[2]!);
  expect({ storedOffset, storedSize, decodedSize }).toEqual({
    storedOffset: chunks[1]!.storedOffset,
    storedSize: chunks[1]!.batch!.storedSize,
    decodedSize: 60,
  });
});

it('members that share their bytes do not multiply the work: never more than the batch has', () => {
  const { layout, chunks } = sampleBlob([Array.from({ length: 100 }, () => 100)]);
  const all = { ...chunks[0]!.batch!, offset: 0 };
  const hostile = {
    ...layout,
    chunk: (index: number) => ({ ...chunks[index]!, size: 10_000, batch: all }),
  };
  expect(unitOf(hostile, hostile.chunk(50)).members.map(({ index }) => index)).toEqual([50]);
});

it('members behind the end of what was decoded are damaged, not short', () => {
  const { layout, chunks, stored } = sampleBlob([[10, 20]], { compressor: 'none' });
  const beyond = { ...chunks[1]!, batch: { ...chunks[1]!.batch!, offset: 25 } };
  const unit = unitOf(layout, chunks[0]!);
  const { good, bad } = decodeUnit(layout, { ...unit, members: [chunks[0]!, beyond] }, stored);
  expect([...good.keys()]).toEqual([0]);
  expect(bad.get(1)?.message).toContain('it has 5 bytes, not 20');
});

it('says what is wrong with bytes that do not decode', () => {
  const { layout, chunks, stored } = sampleBlob([50_000]);
  const unit = unitOf(layout, chunks[0]!);
  expect(decodeUnit(layout, unit, stored).bad.size).toBe(0);
  const cut = decodeUnit(layout, unit, stored.subarray(0, 100)).bad.get(0);
  expect(cut).toMatchObject({ code: 'DIGEST_MISMATCH', message: expect.stringContaining('does not decode') });
  const missing = decodeUnit(layout, unit, undefined).bad.get(0);
  expect(missing?.message).toContain('another number of bytes');
});
