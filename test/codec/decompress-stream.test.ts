import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { describe, expect, it, vi } from 'vitest';
import { compress as zstd } from 'zstd-napi';
import {
  decompressLayer,
  detectLayerCompression,
  FREE_OUTPUT,
  MAX_RATIO,
} from '../../src/codec/decompress-stream.js';
import { RafterError } from '../../src/errors.js';

const raw = Buffer.concat([Buffer.from('abc'.repeat(500_000)), randomBytes(1_500_000)]);
const pieces = (bytes: Buffer, size: number) => {
  const list: Buffer[] = [];
  for (let at = 0; at < bytes.length; at += size) list.push(bytes.subarray(at, at + size));
  return list;
};
const decode = async (list: Buffer[]) => {
  const { tar, compression } = await decompressLayer(Readable.from(list), 'layer 1');
  const out: Buffer[] = [];
  for await (const piece of tar) out.push(piece as Buffer);
  return { bytes: Buffer.concat(out), compression };
};

describe.each([
  ['none', raw],
  ['gzip', gzipSync(raw)],
  ['zstd', zstd(raw)],
  ['gzip', Buffer.concat([gzipSync(raw.subarray(0, 1000)), gzipSync(raw.subarray(1000))])],
  ['zstd', Buffer.concat([zstd(raw.subarray(0, 1000)), zstd(raw.subarray(1000))])],
] as const)('%s', (compression, bytes) => {
  it.each([1000, 65536, 1 << 30])('decodes pieces of %d bytes', async (size) => {
    const decoded = await decode(pieces(bytes, size));
    expect(decoded.compression).toBe(compression);
    expect(decoded.bytes.equals(raw)).toBe(true);
  });

  it('decodes when the first bytes come one by one', async () => {
    const decoded = await decode([...pieces(bytes.subarray(0, 64), 1), bytes.subarray(64)]);
    expect(decoded.bytes.equals(raw)).toBe(true);
  });
});

it.each([
  ['gzip', gzipSync(raw)],
  ['zstd', zstd(raw)],
] as const)('%s cut at any place is TRUNCATED and names the layer', async (_name, bytes) => {
  for (const length of [12, 1000, bytes.length >> 1, bytes.length - 1]) {
    await expect(decode([bytes.subarray(0, length)])).rejects.toMatchObject({
      code: 'TRUNCATED',
      message: expect.stringContaining('layer 1'),
    });
  }
});

it.each([
  ['gzip', gzipSync(raw)],
  ['zstd', zstd(raw)],
] as const)('damaged %s is MALFORMED', async (_name, bytes) => {
  const damaged = Buffer.from(bytes);
  damaged.fill(0xff, 40, 400);
  await expect(decode([damaged])).rejects.toMatchObject({ code: 'MALFORMED' });
});

it('passes an error of the source through unchanged', async () => {
  const bytes = gzipSync(raw);
  async function* failing() {
    yield bytes.subarray(0, 5000);
    throw new RafterError('DIGEST_MISMATCH', 'the source is wrong');
  }
  const { tar } = await decompressLayer(Readable.from(failing()), 'layer 1');
  await expect(tar.toArray()).rejects.toMatchObject({ code: 'DIGEST_MISMATCH' });
});

it('ends the source when the reader stops early', async () => {
  const source = Readable.from(pieces(gzipSync(raw), 1000));
  const { tar } = await decompressLayer(source, 'layer 1');
  for await (const _piece of tar) break;
  await vi.waitFor(() => expect(source.destroyed).toBe(true), { timeout: 10_000 });
});

it('takes an empty layer for a plain one', async () => {
  expect((await decode([])).bytes.length).toBe(0);
  expect(detectLayerCompression(Buffer.from('ustar'))).toBe('none');
});

/** A zstd frame that holds `size` zeros: run-length blocks, four bytes for up to 128 KiB. */
function bomb(size: number): Buffer {
  const BLOCK = 128 << 10;
  const count = Math.ceil(size / BLOCK);
  const frame = Buffer.alloc(6 + 4 * count);
  // No content size, no checksum, a window of 1 MiB.
  frame.set([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x50]);
  for (let i = 0; i < count; i++) {
    const isLast = i === count - 1;
    const length = isLast ? size - i * BLOCK : BLOCK;
    frame.writeUIntLE((length << 3) | (1 << 1) | Number(isLast), 6 + 4 * i, 3);
  }
  return frame;
}

/** Bytes that come out of `bytes`. */
async function sizeOf(bytes: Buffer): Promise<number> {
  const { tar } = await decompressLayer(Readable.from([bytes]), 'layer 1');
  let size = 0;
  for await (const piece of tar) size += (piece as Buffer).length;
  return size;
}

it('a layer decompresses as far as the limit, and not one byte further', { timeout: 120_000 }, async () => {
  // A block more or less changes the frame's size, and with it the limit.
  let most = FREE_OUTPUT;
  while (bomb(most).length * MAX_RATIO + FREE_OUTPUT > most)
    most = bomb(most).length * MAX_RATIO + FREE_OUTPUT;
  const stored = bomb(most).length;
  expect(bomb(most + 1)).toHaveLength(stored);
  expect(await sizeOf(bomb(most))).toBe(most);
  await expect(sizeOf(bomb(most + 1))).rejects.toMatchObject({
    code: 'LIMIT_EXCEEDED',
    message: `layer 1: its first ${stored} bytes decompress to ${most + 1} or more, above the limit of ${MAX_RATIO} for each and ${FREE_OUTPUT}`,
  });
});

it('no gzip stream is beyond the ratio', () => {
  const size = 64 << 20;
  expect(size / gzipSync(Buffer.alloc(size), { level: 9 }).length).toBeLessThan(MAX_RATIO);
});
