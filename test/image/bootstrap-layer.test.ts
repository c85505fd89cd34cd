import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { gunzipSync, gzipSync } from 'node:zlib';
import { expect, it, vi } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { readTarHeader } from '../../src/image/archive/tar-header.js';
import { encodeTarHeader } from '../../src/image/archive/ustar.js';
import {
  MAX_BOOTSTRAP_SIZE,
  packBootstrapLayer,
  unpackBootstrapLayer,
} from '../../src/image/bootstrap-layer.js';
import { golden } from './golden.js';

// Many thousand cases: well under a second alone, not on a machine that builds and tests other things as well.
vi.setConfig({ testTimeout: 60_000 });

const unpack = (bytes: Buffer) =>
  unpackBootstrapLayer(Readable.from([bytes], { objectMode: false }), 'the layer');

function entry(name: string, content: Buffer, claimed = content.length): Buffer {
  const header = encodeTarHeader({ name, type: 'file', mode: 0o444, size: claimed });
  return Buffer.concat([header, content, Buffer.alloc(-content.length & 511)]);
}
const end = Buffer.alloc(1024);

it('unpacks what nydusify packed, and packs the same tar again', async () => {
  const layer = golden('nydus-bootstrap.tar.gz');
  const { bootstrap, blobMetas } = await unpack(layer);
  expect(bootstrap).toHaveLength(20480);
  expect([...blobMetas.values()].map(({ length }) => length)).toEqual([8192, 8192]);

  const packed = await packBootstrapLayer({
    bootstrap,
    blobMetas: [...blobMetas].map(([layerHex, bytes]) => ({ layerHex, bytes })),
  });
  expect(gunzipSync(packed.bytes).equals(gunzipSync(layer))).toBe(true);
  expect(packed.diffId).toBe('sha256:abab33bb6c4018e6974237e730653d7a979dee43fc6f2157b72b3f6954cc235e');
});

it('packs a file that is made piece by piece, in memory that is used again', async () => {
  const bytes = randomBytes((2 << 20) + 70_001);
  const memory = Buffer.alloc(700_000);
  function* pieces(): Generator<Buffer> {
    for (let at = 0; at < bytes.length; at += memory.length) {
      const length = bytes.copy(memory, 0, at);
      yield memory.subarray(0, length);
      memory.fill(0);
    }
  }
  const [whole, inPieces] = await Promise.all(
    [bytes, { size: bytes.length, pieces }].map((bootstrap) =>
      packBootstrapLayer({ bootstrap, blobMetas: [] }),
    ),
  );
  expect(inPieces!.diffId).toBe(whole!.diffId);
  expect(gunzipSync(inPieces!.bytes).equals(gunzipSync(whole!.bytes))).toBe(true);
});

it('makes the same bytes every time, without time or system in them, and ends right after the two zero blocks', async () => {
  const content = {
    bootstrap: randomBytes(5000),
    blobMetas: [{ layerHex: 'a'.repeat(64), bytes: randomBytes(512) }],
  };
  const [one, two] = [await packBootstrapLayer(content), await packBootstrapLayer(content)];
  expect(one.bytes.equals(two.bytes)).toBe(true);
  expect(one.bytes.subarray(0, 10).toString('hex')).toBe('1f8b08000000000000ff');
  const tar = gunzipSync(one.bytes);
  expect(tar.length).toBe(512 + 512 + 5120 + 512 + 512 + 1024);
  expect(one.diffId).toBe(ociDigest(tar));
});

it('reads pieces of any size', async () => {
  const { bytes } = await packBootstrapLayer({ bootstrap: randomBytes(3000), blobMetas: [] });
  const tar = gunzipSync(bytes);
  for (const size of [1, 7, 511, 513]) {
    const pieces = Array.from({ length: Math.ceil(tar.length / size) }, (_, i) =>
      tar.subarray(i * size, (i + 1) * size),
    );
    const unpacked = await unpackBootstrapLayer(Readable.from(pieces, { objectMode: false }), 'x');
    expect(unpacked.bootstrap.equals(tar.subarray(1024, 4024))).toBe(true);
  }
});

it('skips other entries, and takes what older writers did', async () => {
  const boot = Buffer.from('boot');
  const layer = Buffer.concat([
    entry('image/backend.json', randomBytes(1000)),
    entry('../../etc/passwd', Buffer.from('evil')),
    entry('image/short.blob.meta', Buffer.from('x')),
    entry('./image.boot', boot),
    end,
    Buffer.alloc(8192),
  ]);
  const unpacked = await unpack(gzipSync(layer));
  expect(unpacked.bootstrap).toEqual(boot);
  expect(unpacked.blobMetas.size).toBe(0);
});

it.each([
  [
    'no image.boot',
    Buffer.concat([entry('other', Buffer.alloc(3)), end]),
    'NOT_FOUND',
    'no image/image.boot',
  ],
  ['an empty tar', end, 'NOT_FOUND', 'no image/image.boot'],
  ['a cut header', entry('image/image.boot', Buffer.alloc(0)).subarray(0, 100), 'TRUNCATED', 'header at 0'],
  ['cut content', entry('image/image.boot', Buffer.alloc(512), 4096), 'TRUNCATED', 'image/image.boot at 0'],
  ['a cut entry that is skipped', entry('x', Buffer.alloc(512), 4096), 'TRUNCATED', 'x at 0'],
  ['noise', randomBytes(2048), 'MALFORMED', 'the tar entry at 0'],
  ['a negative size', withSize(Buffer.alloc(12, 0xff)), 'MALFORMED', 'negative size'],
  ['a size that is no number', withSize(Buffer.from('99999999999\0')), 'MALFORMED', 'size'],
  [
    'a bootstrap over the limit',
    entry('image/image.boot', Buffer.alloc(0), MAX_BOOTSTRAP_SIZE + 1),
    'LIMIT_EXCEEDED',
    `${MAX_BOOTSTRAP_SIZE + 1} bytes`,
  ],
  [
    'a blob meta over the limit',
    entry(`image/${'a'.repeat(64)}.blob.meta`, Buffer.alloc(0), (256 << 20) + 1),
    'LIMIT_EXCEEDED',
    'bytes, more than the limit',
  ],
])('refuses %s', async (_, tar, code, message) => {
  await expect(unpack(tar)).rejects.toMatchObject({ code, message: expect.stringContaining(message) });
  await expect(unpack(tar)).rejects.toThrow(/^the layer/);
});

it('has a limit of entries', async () => {
  const empty = entry('x', Buffer.alloc(0));
  const many = (count: number) =>
    Buffer.concat([...Array.from({ length: count }, () => empty), entry('image/image.boot', end), end]);
  expect((await unpack(many(16383))).bootstrap).toHaveLength(1024);
  await expect(unpack(many(16384))).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
});

it('reads tar headers of other writers', async () => {
  const name = 'image.boot';
  const inFolder = resum(encodeTarHeader({ name, type: 'file', mode: 0o444, size: 4 }), (copy) => {
    copy.write('image', 345);
    copy.fill(0, 124, 136);
    copy[124] = 0x80;
    copy[135] = 4;
  });
  const content = Buffer.alloc(512);
  content.write('boot');
  expect((await unpack(Buffer.concat([inFolder, content, end]))).bootstrap.toString()).toBe('boot');
});

it('writes headers that fit, and sizes beyond what octal digits can say', () => {
  expect(() => encodeTarHeader({ name: 'x'.repeat(101), type: 'file', mode: 0, size: 0 })).toThrow(
    'no plain tar entry',
  );
  const huge = readTarHeader(encodeTarHeader({ name: 'x', type: 'file', mode: 0, size: 8 ** 11 }), 'huge');
  expect(huge.number('size', 'huge')).toBe(8 ** 11);
});

/** A bootstrap's header with these twelve bytes as size. */
function withSize(field: Buffer): Buffer {
  const header = encodeTarHeader({ name: 'image/image.boot', type: 'file', mode: 0o444, size: 0 });
  return resum(header, (copy) => void field.copy(copy, 124));
}

/** A copy of `header` changed by `change`, with its checksum made right again. */
function resum(header: Buffer, change: (copy: Buffer) => void): Buffer {
  const copy = Buffer.from(header);
  change(copy);
  copy.write('        ', 148);
  const sum = copy.reduce((total, byte) => total + byte, 0);
  copy.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return copy;
}

it('a size that the header only claims takes no memory', async () => {
  const before = process.memoryUsage().external;
  const claimed = entry('image/image.boot', Buffer.alloc(512), MAX_BOOTSTRAP_SIZE);
  await expect(unpack(claimed)).rejects.toMatchObject({ code: 'TRUNCATED' });
  expect(process.memoryUsage().external - before).toBeLessThan(100 << 20);
});

it('content above the first piece of memory comes out whole', async () => {
  const content = randomBytes((40 << 20) + 5);
  const { bootstrap } = await unpack(Buffer.concat([entry('image/image.boot', content), end]));
  expect(bootstrap.equals(content)).toBe(true);
});

it('a name with control characters is shown escaped', async () => {
  const cut = entry('odd\x1b[2J\nname', Buffer.alloc(0), 4096);
  await expect(unpack(cut)).rejects.toMatchObject({ message: /: odd\\u001b\[2J\\u000aname at 0: / });
});
