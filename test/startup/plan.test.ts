import fc from 'fast-check';
import { expect, it } from 'vitest';
import { type BlobRange, planPieces } from '../../src/startup/plan.js';
import { propertyRuns } from '../support/property.js';

const PAGE = 4096;
const blobSizes = [100 * PAGE, 10 * PAGE + 7];
const range = (blob: number, page: number, pages: number): BlobRange => ({
  blob,
  offset: page * PAGE,
  length: pages * PAGE,
});
const plan = (touches: BlobRange[], fillGap = 0) => planPieces(touches, { fillGap, blobSizes });

it('keeps the order of first use, and joins what follows one another', () => {
  expect(plan([range(0, 10, 2), range(1, 0, 1), range(0, 2, 1), range(0, 3, 4)])).toEqual([
    range(0, 10, 2),
    range(1, 0, 1),
    range(0, 2, 5),
  ]);
});

it('fills gaps up to the size, where the first of both sides is', () => {
  const touches = [range(0, 10, 1), range(1, 5, 1), range(0, 13, 1), range(0, 20, 1)];
  expect(plan(touches, 2 * PAGE)).toEqual([
    range(0, 10, 3),
    range(1, 5, 1),
    range(0, 13, 1),
    range(0, 20, 1),
  ]);
  expect(plan(touches, 2 * PAGE - 1)).toEqual(touches);
  // Now the later part of the blob is first.
  expect(plan([range(0, 13, 1), range(0, 10, 1)], 2 * PAGE)).toEqual([range(0, 11, 3), range(0, 10, 1)]);
});

it('ends where the blob ends', () => {
  expect(plan([range(1, 10, 1), range(1, 12, 3)])).toEqual([{ blob: 1, offset: 10 * PAGE, length: 7 }]);
});

it('whatever was touched is in one piece, and nothing twice', () => {
  const shape = fc.array(
    fc.tuple(fc.nat(1), fc.integer({ min: 0, max: 120 }), fc.integer({ min: 1, max: 3 })),
    {
      maxLength: 40,
    },
  );
  fc.assert(
    fc.property(shape, fc.nat(10), (all, gapPages) => {
      const taken = new Set<string>();
      const pagesOf = ({ blob, offset, length }: BlobRange) =>
        Array.from({ length: Math.ceil(length / PAGE) }, (_, i) => `${blob}:${offset / PAGE + i}`);
      const touches = all
        .map(([blob, page, pages]) => range(blob, page, pages))
        .filter((touch) => {
          if (pagesOf(touch).some((page) => taken.has(page))) return false;
          for (const page of pagesOf(touch)) taken.add(page);
          return true;
        });
      const pages = plan(touches, gapPages * PAGE).flatMap(pagesOf);
      expect(new Set(pages).size).toBe(pages.length);
      const inBlob = (page: string) => {
        const [blob, number] = page.split(':').map(Number);
        return number! * PAGE < blobSizes[blob!]!;
      };
      for (const page of taken) expect(pages.includes(page)).toBe(inBlob(page));
      if (gapPages === 0) expect(pages.length).toBe([...taken].filter(inBlob).length);
    }),
    propertyRuns(200),
  );
});
