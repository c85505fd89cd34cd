import { expect, it } from 'vitest';
import { fingerprintOf } from '../../src/cache/layout.js';
import { sampleBlob } from './sample-blob.js';

it('the fingerprint names where chunks lie, not what is in them', () => {
  const name = fingerprintOf(sampleBlob([5000, [10, 20], 70]).layout);
  expect(name).toMatch(/^[0-9a-f]{64}$/);
  expect(fingerprintOf(sampleBlob([5000, [10, 20], 70]).layout)).toBe(name);
  expect(fingerprintOf(sampleBlob([5000, [10, 20], 71]).layout)).not.toBe(name);
  expect(fingerprintOf(sampleBlob([5000, [10, 20]]).layout)).not.toBe(name);
  expect(fingerprintOf(sampleBlob([5000, [10, 20], 70], { gapBefore: (i) => i }).layout)).not.toBe(name);
  const { layout } = sampleBlob([5000, [10, 20], 70]);
  expect(fingerprintOf({ ...layout, decodedSize: layout.decodedSize + 4096 })).not.toBe(name);
});

it('every chunk counts, however many there are', () => {
  const count = 10_000;
  const { layout: base, chunks } = sampleBlob([1]);
  const layout = (odd: number) => ({
    ...base,
    decodedSize: count * 4096,
    chunkCount: count,
    chunk: (index: number) => ({
      ...chunks[0]!,
      index,
      decodedOffset: index * 4096,
      size: index === odd ? 2 : 1,
    }),
  });
  const names = [-1, 0, 4095, 4096, 8192, count - 1].map((odd) => fingerprintOf(layout(odd)));
  expect(new Set(names).size).toBe(names.length);
});
