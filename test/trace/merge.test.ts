import { describe, expect, it } from 'vitest';
import { mergeTraces } from '../../src/trace/merge.js';
import type { Touch, Trace } from '../../src/trace/trace.js';
import { random } from '../support/mutate.js';
import { touchOf, traceOf } from './traces.js';

/** Ranges in pages. */
const pagesOf = ({ touches }: Trace) =>
  touches.map(({ blob, offset, length }) => [blob, offset / 4096, length / 4096]);

describe('merging traces', () => {
  it('leaves one as it is', () => {
    const one = traceOf([touchOf(9, 2, { atMs: 1 }), touchOf(0, 1, { atMs: 2 })], { command: ['a'] });
    expect(mergeTraces([one])).toEqual(one);
  });

  it('puts first what several runs touched early', () => {
    const one = traceOf([touchOf(0, 1), touchOf(10, 1), touchOf(20, 1)]);
    const other = traceOf([touchOf(10, 1), touchOf(30, 1), touchOf(20, 1)]);
    // Positions in pages: 10: 1+0, 0: 0+3, 20: 2+2, 30: 3+1; of equal ones the lower offset.
    expect(pagesOf(mergeTraces([one, other]))).toEqual([
      [0, 10, 1],
      [0, 0, 1],
      [0, 20, 1],
      [0, 30, 1],
    ]);
  });

  it('cuts ranges where they overlap', () => {
    const one = traceOf([touchOf(0, 8)]);
    const other = traceOf([touchOf(6, 4, { blob: 0 }), touchOf(0, 1, { blob: 1 })]);
    expect(pagesOf(mergeTraces([one, other]))).toEqual([
      [0, 6, 2],
      [0, 0, 6],
      [0, 8, 2],
      [1, 0, 1],
    ]);
  });

  it('keeps the earliest time of a range, and what was waited then', () => {
    const one = traceOf([touchOf(0, 1, { atMs: 5, waitedMs: 0, from: 'local' })]);
    const other = traceOf([touchOf(0, 1, { atMs: 3, waitedMs: 40, from: 'fetch' })]);
    expect(mergeTraces([one, other]).touches).toEqual([
      touchOf(0, 1, { atMs: 3, waitedMs: 40, from: 'fetch' }),
    ]);
  });

  it('keeps of the headers what they agree in', () => {
    const one = traceOf([], {
      command: ['a'],
      readAheadKiB: 16,
      lost: 1,
      startedAt: '2026-01-03T00:00:00.000Z',
    });
    const other = traceOf([], { command: ['b'], readAheadKiB: 16, lost: 2 });
    const merged = mergeTraces([one, other]);
    expect(merged).toEqual(traceOf([], { readAheadKiB: 16, lost: 3 }));
  });

  it('refuses other images, and says what differs', () => {
    const one = traceOf([]);
    const usage = (message: string) =>
      expect.objectContaining({ code: 'USAGE', message: expect.stringContaining(message) });
    const other = traceOf([], { blobs: [one.blobs[0]!, 'd'.repeat(64)] });
    expect(() => mergeTraces([one, other])).toThrow(
      usage(`blob 1 is ${one.blobs[1]} in one and ${'d'.repeat(64)}`),
    );
    expect(() => mergeTraces([one, traceOf([], { blobs: ['e'] })])).toThrow(
      usage('one has 2 blobs, the other 1'),
    );
    expect(() => mergeTraces([])).toThrow(usage('no trace'));
  });

  it('is a union without overlap, whatever the order of the traces', () => {
    for (let seed = 1; seed <= 30; seed++) {
      const next = random(seed);
      const traces = Array.from({ length: 1 + (seed % 4) }, () => randomTrace(next));
      const merged = mergeTraces(traces);
      const covered = merged.touches.flatMap(everyPage);
      const union = new Set(traces.flatMap(({ touches }) => touches.flatMap(everyPage)));
      expect(covered.sort()).toEqual([...union].sort());
      expect(mergeTraces(traces.toReversed()).touches).toEqual(merged.touches);
    }
  });
});

function everyPage({ blob, offset, length }: Touch): string[] {
  return Array.from({ length: length / 4096 }, (_, i) => `${blob}:${offset / 4096 + i}`);
}

function randomTrace(next: (below: number) => number): Trace {
  const touches: Touch[] = [];
  for (let page = 0; page < 60; ) {
    const pages = 1 + next(6);
    if (next(2) === 0) touches.push(touchOf(page, pages, { blob: next(2), atMs: next(50) }));
    page += pages;
  }
  return traceOf(touches.sort((a, b) => a.atMs - b.atMs || a.offset - b.offset));
}
