import { describe, expect, it } from 'vitest';
import { readAhead } from '../../src/inspect/read-ahead.js';
import { createStoredReader } from '../../src/inspect/stored-reader.js';

const bytes = Buffer.from(Array.from({ length: 1000 }, (_, i) => i & 0xff));

describe('reading ahead', () => {
  const counted = () => {
    const asked: [number, number][] = [];
    const source = {
      name: 'blob',
      read: async (offset: number, length: number) => {
        asked.push([offset, length]);
        if (offset + length > bytes.length) throw new Error('beyond the end');
        return bytes.subarray(offset, offset + length);
      },
    };
    return { asked, reader: readAhead(source, { end: bytes.length, windowSize: 100 }) };
  };

  it('gives the very bytes from few requests, and asks for nothing beyond the end', async () => {
    const { asked, reader } = counted();
    for (let offset = 0; offset < 1000; offset += 10)
      expect(await reader.read(offset, 10)).toEqual(bytes.subarray(offset, offset + 10));
    expect(asked.length).toBe(10);
    expect(await reader.read(955, 45)).toEqual(bytes.subarray(955));
    expect(asked.every(([offset, length]) => offset + length <= 1000)).toBe(true);
  });

  it('keeps some windows for readers that go back, and lets old ones go', async () => {
    const { asked, reader } = counted();
    for (const offset of [0, 200, 400, 600, 50, 250]) await reader.read(offset, 10);
    expect(asked.length).toBe(4);
    await reader.read(800, 10);
    await reader.read(5, 10);
    expect(asked.length).toBe(6);
  });

  it('passes large reads on', async () => {
    const { asked, reader } = counted();
    expect(await reader.read(3, 500)).toEqual(bytes.subarray(3, 503));
    expect(asked).toEqual([[3, 500]]);
  });
});

describe('taking ranges from a stream', () => {
  const open = (size: number) => {
    let seen = 0;
    async function* pieces(): AsyncGenerator<Buffer> {
      for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
    }
    return {
      reader: createStoredReader(pieces(), (piece) => {
        seen += piece.length;
      }),
      seen: () => seen,
    };
  };

  it.each([1, 7, 64, 1000])('gives them whatever the pieces are: %d bytes', async (size) => {
    const { reader, seen } = open(size);
    const ranges = [
      [0, 10],
      [10, 100],
      [50, 100],
      [150, 0],
      [400, 300],
      [699, 1],
    ] as const;
    for (const [offset, length] of ranges)
      expect(await reader.take(offset, length)).toEqual(bytes.subarray(offset, offset + length));
    await reader.finish();
    expect(seen()).toBe(1000);
  });

  it('gives what there is at the end', async () => {
    const { reader } = open(64);
    expect(await reader.take(990, 20)).toEqual(bytes.subarray(990));
    expect((await reader.take(1200, 20)).length).toBe(0);
  });
});
