import { createHash, randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { gzipSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import { type UnpackedLayer, UnpackThread } from '../../src/codec/unpack-thread.js';

const MiB = 1 << 20;
const thread = new UnpackThread();
afterAll(() => thread.close());

const inPieces = (bytes: Buffer, size: number) =>
  Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) => bytes.subarray(i * size, (i + 1) * size));

function unpack(pieces: Iterable<Buffer> | AsyncIterable<Buffer>, algorithm: 'sha256' | 'sha512' = 'sha256') {
  return thread.unpack(Readable.from(pieces, { objectMode: false }), { name: 'layer 1', algorithm });
}

async function readAll({ pieces }: UnpackedLayer): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const piece of pieces) all.push(Buffer.from(piece));
  return Buffer.concat(all);
}

describe('a layer', () => {
  // Half of it shrinks, so that both sides of the thread take part in the back pressure.
  const tar = Buffer.concat([randomBytes(3 * MiB), Buffer.alloc(9 * MiB, 'text '), randomBytes(MiB + 5)]);

  it.each([
    ['gzip', gzipSync(tar), 'sha256'],
    ['no compression', tar, 'sha512'],
  ] as const)('comes back whole from %s, with its digest', async (_, stored, algorithm) => {
    for (const size of [9_999, 3 * MiB]) {
      const layer = unpack(inPieces(stored, size), algorithm);
      expect((await readAll(layer)).equals(tar)).toBe(true);
      expect(layer.digest()).toBe(createHash(algorithm).update(tar).digest('hex'));
      layer.close();
    }
  });

  it('may be empty', async () => {
    const layer = unpack([]);
    expect(await readAll(layer)).toHaveLength(0);
    expect(layer.digest()).toBe(createHash('sha256').digest('hex'));
    layer.close();
  });

  it('comes in pieces of whole tar blocks, but for the last', async () => {
    const layer = unpack(inPieces(gzipSync(tar), 5_000));
    const sizes: number[] = [];
    for await (const piece of layer.pieces) sizes.push(piece.length);
    expect(sizes.slice(0, -1).filter((size) => size % 512 !== 0)).toEqual([]);
    layer.close();
  });

  it('is read no further than a few MiB ahead of its reader', async () => {
    let given = 0;
    async function* source(): AsyncGenerator<Buffer> {
      for (; given < 100; given++) yield randomBytes(MiB);
    }
    const layer = unpack(source());
    const first = await layer.pieces.next();
    expect(first.value).toHaveLength(MiB);
    layer.close();
    await layer.received;
    expect(given).toBeLessThan(30);
  });

  it('is unpacked beside others, each with its own bytes, in memory that is used again', async () => {
    const contents = Array.from({ length: 6 }, () => randomBytes(2 * MiB + 77));
    for (let round = 0; round < 2; round++) {
      const layers = contents.map((bytes) => unpack(inPieces(bytes, 100_000)));
      expect(thread.load).toBe(6);
      for (const [i, layer] of layers.entries()) {
        expect((await readAll(layer)).equals(contents[i]!)).toBe(true);
        layer.close();
      }
      expect(thread.load).toBe(0);
    }
  });
});

describe('what goes wrong', () => {
  it('in the source comes out of the pieces, also behind the last byte of the tar', async () => {
    async function* source(): AsyncGenerator<Buffer> {
      yield gzipSync(Buffer.alloc(MiB));
      throw new Error('the digest is wrong');
    }
    const layer = unpack(source());
    await expect(readAll(layer)).rejects.toThrow('the digest is wrong');
    layer.close();
  });

  it('in the decompressor is the error that names the layer', async () => {
    const damaged = gzipSync(randomBytes(MiB));
    damaged.fill(0xff, 500_000, 500_100);
    for (const [bytes, error] of [
      [damaged, { code: 'MALFORMED', message: expect.stringMatching(/^layer 1: the gzip data is damaged/) }],
      [damaged.subarray(0, 400_000), { code: 'TRUNCATED', message: 'layer 1: the gzip data ends too early' }],
    ] as const) {
      const layer = unpack([bytes]);
      await expect(readAll(layer)).rejects.toMatchObject(error);
      layer.close();
    }
  });

  it('a layer that is closed in the middle ends its source, and the thread goes on', async () => {
    const source = Readable.from(inPieces(randomBytes(20 * MiB), 70_000));
    const layer = thread.unpack(source, { name: 'layer 1', algorithm: 'sha256' });
    await layer.pieces.next();
    layer.close();
    layer.close();
    await layer.received;
    expect(source.destroyed).toBe(true);
    expect(() => layer.digest()).toThrow('not read to its end');
    const next = unpack([Buffer.from('next')]);
    expect((await readAll(next)).toString()).toBe('next');
    next.close();
  });

  it('the end of the thread ends its layers', async () => {
    const mortal = new UnpackThread();
    async function* source(): AsyncGenerator<Buffer> {
      yield randomBytes(1000);
      await mortal.close();
    }
    const layer = mortal.unpack(Readable.from(source()), { name: 'layer 1', algorithm: 'sha256' });
    await expect(readAll(layer)).rejects.toThrow('has ended');
  });
});
