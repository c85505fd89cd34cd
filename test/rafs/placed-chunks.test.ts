import { expect, it } from 'vitest';
import { sha256 } from '../../src/codec/digest.js';
import { BlobRef } from '../../src/rafs/blob-ref.js';
import { PlacedChunks } from '../../src/rafs/placed-chunks.js';

const COUNT = 1030;

function fields(i: number) {
  return {
    digest: sha256(Buffer.from(`${i}`)),
    crc: (0xffffffff - i) >>> 0,
    size: 1 + i,
    decodedOffset: 2 ** 44 - 4096 * (i + 1),
    storedOffset: 2 ** 40 - i,
    storedSize: 0xffffff - i,
    flags: i % 2 === 0 ? 0x11 : 0x10,
  };
}

it('gives back every chunk as it was added, whatever came behind it', () => {
  const blob = new BlobRef();
  const chunks = new PlacedChunks(blob);
  const placed = Array.from({ length: COUNT }, (_, i) => {
    const given = fields(i);
    const chunk = chunks.add(given);
    // What is kept is a copy.
    given.digest.fill(0);
    return chunk;
  });
  expect(chunks.count).toBe(COUNT);
  const found = placed.map(({ digest, crc, size, decodedOffset, storedOffset, storedSize, flags }) => ({
    digest,
    crc,
    size,
    decodedOffset,
    storedOffset,
    storedSize,
    flags,
  }));
  expect(found).toEqual(placed.map((_, i) => fields(i)));
  expect(placed.every(({ blob: own, index }, i) => own === blob && index === i)).toBe(true);
  expect(chunks.digests().equals(Buffer.concat(placed.map(({ digest }) => digest)))).toBe(true);
});
