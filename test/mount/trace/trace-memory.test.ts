import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { describe, expect, it } from 'vitest';
import { clock, MAX_TRACED_SIZE, shareTrace, TraceMemory } from '../../../src/mount/trace/trace-memory.js';
import { tracedReader } from '../../../src/mount/trace/trace-reader.js';
import { MAX_TOUCHES } from '../../../src/trace/trace.js';

const PAGE = 4096;
const open = (...sizes: number[]) => new TraceMemory(shareTrace(sizes, clock()));
/** Blob, first page, pages, source. */
const seen = (memory: TraceMemory) =>
  memory.touches().map(({ blob, offset, length, from }) => [blob, offset / PAGE, length / PAGE, from]);

describe('the memory of a trace', () => {
  it('has each page once', () => {
    const memory = open(100 * PAGE, 100 * PAGE);
    memory.local(0, 10 * PAGE, 4 * PAGE);
    memory.local(0, 10 * PAGE, 4 * PAGE);
    memory.local(0, 8 * PAGE, 10 * PAGE);
    memory.local(1, 10 * PAGE, PAGE);
    expect(seen(memory)).toEqual([
      [0, 10, 4, 'local'],
      [0, 8, 2, 'local'],
      [0, 14, 4, 'local'],
      [1, 10, 1, 'local'],
    ]);
  });

  it('makes one touch of a run that crosses words', () => {
    const memory = open(1000 * PAGE);
    memory.local(0, 30 * PAGE, 100 * PAGE);
    memory.local(0, 0, 1000 * PAGE);
    expect(seen(memory)).toEqual([
      [0, 30, 100, 'local'],
      [0, 0, 30, 'local'],
      [0, 130, 870, 'local'],
    ]);
  });

  it('counts whole pages, and the last one to the end of the blob', () => {
    const memory = open(10 * PAGE + 100);
    memory.local(0, 5 * PAGE + 17, 1);
    memory.local(0, 10 * PAGE, PAGE);
    memory.local(0, 0, 0);
    expect(memory.touches()).toMatchObject([
      { offset: 5 * PAGE, length: PAGE },
      { offset: 10 * PAGE, length: 100 },
    ]);
  });

  it('keeps how long a read waited, and for what', () => {
    const memory = open(100 * PAGE);
    const fetched = memory.waiting(0, 0, 2 * PAGE);
    const streamed = memory.waiting(0, PAGE, 2 * PAGE);
    expect(memory.waiting(0, 0, 3 * PAGE)).toEqual([]);
    memory.answered(fetched, 'fetch');
    memory.answered(streamed, 'startup');
    const touches = memory.touches();
    expect(touches).toMatchObject([
      { offset: 0, length: 2 * PAGE, from: 'fetch' },
      { offset: 2 * PAGE, length: PAGE, from: 'startup' },
    ]);
    for (const { atMs, waitedMs } of touches) {
      expect(atMs).toBeGreaterThanOrEqual(0);
      expect(waitedMs).toBeGreaterThan(0);
    }
    expect(memory.touches()).toEqual(touches);
  });

  it('shows a read that waits as one that has waited until now', () => {
    const memory = open(PAGE);
    memory.waiting(0, 0, PAGE);
    const [before] = memory.touches();
    const [after] = memory.touches();
    expect(after!.waitedMs).toBeGreaterThan(before!.waitedMs);
    expect(after!.from).toBe('fetch');
  });

  it('has a limit of touches, and counts what is above', () => {
    const memory = open((MAX_TOUCHES + 2) * 2 * PAGE);
    for (let i = 0; i < MAX_TOUCHES; i++) memory.local(0, i * 2 * PAGE, PAGE);
    expect(memory.lost).toBe(0);
    memory.local(0, MAX_TOUCHES * 2 * PAGE, PAGE);
    expect(memory.waiting(0, (MAX_TOUCHES + 1) * 2 * PAGE, PAGE)).toEqual([]);
    expect(memory.lost).toBe(2);
    expect(memory.touches()).toHaveLength(MAX_TOUCHES);
  });

  it('has a limit for the image', () => {
    const limit = expect.objectContaining({ code: 'LIMIT_EXCEEDED' });
    expect(() => shareTrace([MAX_TRACED_SIZE, 1], 0)).toThrow(limit);
    expect(shareTrace([MAX_TRACED_SIZE - 1, 1], 0).sizes).toHaveLength(2);
  });

  it('goes on where another one ended', () => {
    const first = open(100 * PAGE, 100 * PAGE);
    first.local(1, 50 * PAGE, 3 * PAGE);
    first.answered(first.waiting(0, 0, PAGE), 'fetch');
    const second = open(100 * PAGE, 100 * PAGE);
    second.restore(first.touches());
    expect(second.touches()).toEqual(first.touches());
    second.local(1, 50 * PAGE, 4 * PAGE);
    expect(second.touches(2)).toMatchObject([{ blob: 1, offset: 53 * PAGE, length: PAGE }]);
  });

  it('is one for all threads', async () => {
    const pages = 20_000;
    const shared = shareTrace([pages * PAGE], clock());
    // Both go over all pages; neither knows what the other has noted.
    const code = `
      const { workerData } = require('node:worker_threads');
      const words = new Int32Array(workerData.shared.counters);
      import(workerData.module).then(({ TraceMemory }) => {
        const memory = new TraceMemory(workerData.shared);
        for (let page = 0; page < ${pages}; page++) memory.local(0, page * 4096, 4096);
      });`;
    const module = new URL('../../../dist/mount/trace/trace-memory.js', import.meta.url).href;
    const worker = new Worker(code, { eval: true, workerData: { shared, module } });
    const exited = once(worker, 'exit');
    const memory = new TraceMemory(shared);
    for (let page = pages - 1; page >= 0; page--) memory.local(0, page * PAGE, PAGE);
    expect(await exited).toEqual([0]);
    const offsets = memory.touches().map(({ offset }) => offset);
    expect(offsets.sort((a, b) => a - b)).toEqual(Array.from({ length: pages }, (_, page) => page * PAGE));
  });
});

describe('a reader whose reads are noted', () => {
  it('is the same one without a trace', () => {
    const reader = { read: async () => 'local' as const };
    expect(tracedReader(reader, undefined)).toBe(reader);
  });

  it('notes what was read, from where, and what could not be had', async () => {
    const memory = open(100 * PAGE);
    const reader = tracedReader(
      {
        async read(offset) {
          if (offset > 0) throw new Error('gone');
          return 'startup';
        },
        readLocal: (offset) => offset === 8 * PAGE,
      },
      { memory, blob: 0 },
    );
    const page = Buffer.alloc(PAGE);
    expect(reader.readLocal!(0, page)).toBe(false);
    expect(reader.readLocal!(8 * PAGE, page)).toBe(true);
    expect(await reader.read(0, page)).toBe('startup');
    await expect(reader.read(PAGE, page)).rejects.toThrow('gone');
    expect(seen(memory)).toEqual([
      [0, 8, 1, 'local'],
      [0, 0, 1, 'startup'],
      [0, 1, 1, 'fetch'],
    ]);
  });
});
