import { describe, expect, it } from 'vitest';
import { readTar } from '../../src/convert/tar-reader.js';
import { scanTar } from '../../src/convert/tar-scan.js';
import { HOLE } from '../../src/convert/tar-sparse.js';
import { inPieces, readAll } from './read-all.js';
import { encodeNumber, makeTar, padded, type TarItem } from './tar-writer.js';

type Extent = [offset: number, data: string];

/** What the file must come out as. */
function expand(extents: Extent[], realSize: number): Buffer {
  const content = Buffer.alloc(realSize);
  for (const [offset, data] of extents) content.write(data, offset);
  return content;
}

function writeExtents(block: Buffer, at: number, extents: Extent[]): void {
  extents.forEach(([offset, data], i) => {
    encodeNumber(offset, 12).copy(block, at + 24 * i);
    encodeNumber(data.length, 12).copy(block, at + 24 * i + 12);
  });
}

/** An entry of type S: four extents in the header, 21 in each extension block. */
function gnuSparse(name: string, extents: Extent[], realSize: number): TarItem {
  const blocks: Buffer[] = [];
  for (let i = 4; i < extents.length; i += 21) {
    const block = Buffer.alloc(512);
    writeExtents(block, 0, extents.slice(i, i + 21));
    if (i + 21 < extents.length) block[504] = 1;
    blocks.push(block);
  }
  return {
    name,
    type: 'S',
    magic: 'ustar ',
    data: extents.map(([, data]) => data).join(''),
    extra: Buffer.concat(blocks),
    patch: (block) => {
      writeExtents(block, 386, extents.slice(0, 4));
      if (extents.length > 4) block[482] = 1;
      encodeNumber(realSize, 12).copy(block, 483);
    },
  };
}

const someExtents = (count: number): Extent[] =>
  Array.from({ length: count }, (_, i) => [4096 * (i + 1), `extent ${i}`]);

describe('GNU sparse entries', () => {
  it.each([0, 1, 4, 5, 12, 25, 26, 100])('with %d extents, entries behind them in step', async (count) => {
    const extents = someExtents(count);
    const realSize = 4096 * (count + 2);
    const tar = makeTar([gnuSparse('sparse', extents, realSize), { name: 'next', data: 'in step' }]);
    for (const pieceSize of [100, 512, 1 << 20]) {
      const [sparse, next] = await readAll(tar, pieceSize);
      expect(sparse).toMatchObject({ name: 'sparse', type: 'file', size: realSize });
      expect(sparse!.content.equals(expand(extents, realSize))).toBe(true);
      expect(next!.content.toString()).toBe('in step');
    }
  });

  it('with extension blocks behind a piece whose memory is used again', async () => {
    const extents = someExtents(40);
    const tar = makeTar([{ name: 'empty' }, gnuSparse('sparse', extents, 1 << 20)]);
    // The sparse file's header is the last block of the first.
    const piece = Buffer.alloc(1024);
    async function* pieces() {
      for (let at = 0; at < tar.length; at += piece.length) {
        const size = tar.copy(piece, 0, at);
        yield piece.subarray(0, size);
        piece.fill(0xff);
      }
    }
    for await (const { path, mode, size, body } of scanTar(pieces(), 'layer 1')) {
      if (path.toString() === 'empty') continue;
      expect({ mode, size }).toEqual({ mode: 0o644, size: 1 << 20 });
      const content: Buffer[] = [];
      for await (const part of body) content.push(Buffer.from(part));
      expect(Buffer.concat(content).equals(expand(extents, 1 << 20))).toBe(true);
    }
  });

  it('a data extent may end the file, and an empty one mark its end', async () => {
    const extents: Extent[] = [
      [0, 'begin'],
      [100, 'end'],
      [103, ''],
    ];
    const [entry] = await readAll(makeTar([gnuSparse('f', extents, 103)]));
    expect(entry!.content.equals(expand(extents, 103))).toBe(true);
  });

  it('a tar that stops in the extension blocks is TRUNCATED', async () => {
    const tar = makeTar([gnuSparse('f', someExtents(40), 1 << 20)]);
    await expect(readAll(tar.subarray(0, 1024))).rejects.toThrow(
      'layer 1: the tar ends in front of the sparse map of "f"',
    );
  });

  it.each<[string, Extent[], number]>([
    [
      'overlapping extents',
      [
        [0, 'aaaa'],
        [2, 'bb'],
      ],
      100,
    ],
    [
      'extents out of order',
      [
        [50, 'aaaa'],
        [2, 'bb'],
      ],
      100,
    ],
    ['an extent behind the end', [[98, 'aaaa']], 100],
  ])('%s are MALFORMED', async (_, extents, realSize) => {
    await expect(readAll(makeTar([gnuSparse('f', extents, realSize)]))).rejects.toThrow(
      /layer 1: entry "f": sparse extent/,
    );
  });

  it('a negative size is MALFORMED', async () => {
    await expect(readAll(makeTar([gnuSparse('f', [], -5)]))).rejects.toThrow(
      'layer 1: entry "f": negative real size',
    );
  });

  it('a map that does not fit the packed bytes is MALFORMED', async () => {
    const item = gnuSparse('f', [[0, 'four']], 100);
    await expect(readAll(makeTar([{ ...item, data: 'fiver' }]))).rejects.toThrow(
      'sparse map of 4 bytes over 5',
    );
  });
});

describe('PAX sparse entries', () => {
  const extents: Extent[] = [
    [4096, 'hello'],
    [524288, 'end'],
    [1048576, ''],
  ];
  const packed = 'helloend';
  const map = `3\n${extents.map(([offset, data]) => `${offset}\n${data.length}\n`).join('')}`;
  const version1: TarItem = {
    name: 'GNUSparseFile.0/f',
    data: Buffer.concat([padded(Buffer.from(map)), Buffer.from(packed)]),
    pax: [
      ['GNU.sparse.major', '1'],
      ['GNU.sparse.minor', '0'],
      ['GNU.sparse.name', 'dir/f'],
      ['GNU.sparse.realsize', '1048576'],
    ],
  };
  const numbers = extents.flatMap(([offset, data]) => [
    ['GNU.sparse.offset', String(offset)],
    ['GNU.sparse.numbytes', String(data.length)],
  ]) as [string, string][];

  it.each<[string, TarItem]>([
    [
      '0.0',
      {
        name: 'dir/f',
        data: packed,
        pax: [['GNU.sparse.size', '1048576'], ['GNU.sparse.numblocks', '3'], ...numbers],
      },
    ],
    [
      '0.1',
      {
        name: 'GNUSparseFile.0/f',
        data: packed,
        pax: [
          ['GNU.sparse.size', '1048576'],
          ['GNU.sparse.numblocks', '3'],
          ['GNU.sparse.name', 'dir/f'],
          ['GNU.sparse.map', numbers.map(([, value]) => value).join(',')],
        ],
      },
    ],
    ['1.0', version1],
  ])('format %s', async (_, item) => {
    const [entry, next] = await readAll(makeTar([item, { name: 'next', data: 'in step' }]), 100);
    expect(entry).toMatchObject({ name: 'dir/f', size: 1048576 });
    expect(entry!.content.equals(expand(extents, 1048576))).toBe(true);
    expect(next!.content.toString()).toBe('in step');
  });

  it.each<[string, TarItem, string]>([
    [
      'an unknown version',
      {
        ...version1,
        pax: [
          ['GNU.sparse.major', '2'],
          ['GNU.sparse.realsize', '5'],
        ],
      },
      'UNSUPPORTED',
    ],
    ['no real size', { ...version1, pax: [['GNU.sparse.major', '1']] }, 'without GNU.sparse.realsize'],
    [
      'half an extent',
      {
        name: 'f',
        data: 'x',
        pax: [
          ['GNU.sparse.size', '5'],
          ['GNU.sparse.map', '0,1,3'],
        ],
      },
      'half an extent',
    ],
    ['letters in the map', { ...version1, data: 'three\nfour\n' }, 'is not a number'],
    ['a map without end', { ...version1, data: '1'.repeat(600) }, 'no number in its sparse map'],
    ['a map longer than the entry', { ...version1, data: '9\n1\n' }, 'longer than the entry'],
    ['too many extents', { ...version1, data: '262145\n' }, 'more than 262144 sparse extents'],
    [
      'a file too large for the format',
      { ...version1, pax: [['GNU.sparse.realsize', String(2 ** 44 + 1)]] },
      '17592186044417 bytes',
    ],
  ])('%s is an error that names the entry', async (_, item, message) => {
    const error = await readAll(makeTar([item])).then(
      () => undefined,
      (e: Error & { code: string }) => e,
    );
    expect(`${error?.code} ${error?.message}`).toContain(message);
    expect(error?.message).toMatch(/^layer 1: entry "/);
  });

  it('holes come as HOLE itself, aligned to its size', async () => {
    const item = gnuSparse('f', [[HOLE.length + 5, 'x']], 4 * HOLE.length);
    const pieces: Buffer[] = [];
    for await (const { body } of readTar(inPieces(makeTar([item])), 'layer')) {
      for await (const piece of body) pieces.push(piece);
    }
    expect(pieces.map((piece) => (piece === HOLE ? 'hole' : piece.length))).toEqual([
      'hole',
      5,
      1,
      HOLE.length - 6,
      'hole',
      'hole',
    ]);
  });
});
