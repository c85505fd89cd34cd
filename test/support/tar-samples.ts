import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { gunzipSync } from 'node:zlib';
import { encodeNumber, fixChecksum, makeTar, padded, paxRecord } from '../convert/tar-writer.js';
import { mutate, pick, placesOf, type Random } from './mutate.js';

const LAYERS = join(import.meta.dirname, '../../fixtures/golden/in');
const BLOCK = 512;
/** Larger samples give fewer cases and no other structures. */
const MAX_SAMPLE = 100_000;

/** A whole tar and the offsets at which a change is worth while. */
export interface TarSample {
  tar: Buffer;
  places: number[];
}

/** Small layers as tools wrote them. */
export function goldenTars(): TarSample[] {
  return readdirSync(LAYERS)
    .filter((file) => file.endsWith('.tar.gz') && !/^(?:full[12]|small|twin)\./.test(file))
    .map((file) => gunzipSync(readFileSync(join(LAYERS, file))))
    .filter((tar) => tar.length < MAX_SAMPLE)
    .map(sample);
}

/** Tars with sparse files in all formats, PAX records of all kinds, long names. */
export function extendedTars(): TarSample[] {
  const extents = Array.from({ length: 30 }, (_, i) => [i * 1000, 10] as const);
  const table = (block: Buffer, at: number, from: number, to: number) =>
    extents.slice(from, to).forEach(([offset, size], i) => {
      encodeNumber(offset, 12).copy(block, at + 24 * i);
      encodeNumber(size, 12).copy(block, at + 24 * i + 12);
    });
  const extension = Buffer.alloc(2 * BLOCK);
  table(extension, 0, 4, 25);
  extension[504] = 1;
  table(extension, BLOCK, 25, 30);
  const map = extents.flat().join(',');
  const lines = padded(Buffer.from(`30\n${extents.flat().join('\n')}\n`));
  const data = Buffer.alloc(300, 'd');
  const sparse = makeTar([
    {
      name: 'gnu',
      type: 'S',
      magic: 'ustar ',
      data,
      extra: extension,
      patch: (block) => {
        table(block, 386, 0, 4);
        block[482] = 1;
        encodeNumber(50_000, 12).copy(block, 483);
      },
    },
    {
      name: 'pax00',
      data,
      pax: [
        ['GNU.sparse.size', '50000'],
        ...extents.flatMap(([offset, size]): [string, string][] => [
          ['GNU.sparse.offset', String(offset)],
          ['GNU.sparse.numbytes', String(size)],
        ]),
      ],
    },
    {
      name: 'pax01',
      data,
      pax: [
        ['GNU.sparse.map', map],
        ['GNU.sparse.size', '50000'],
      ],
    },
    {
      name: 'pax10',
      data: Buffer.concat([lines, data]),
      pax: [
        ['GNU.sparse.major', '1'],
        ['GNU.sparse.minor', '0'],
        ['GNU.sparse.realsize', '50000'],
        ['GNU.sparse.name', 'real'],
      ],
    },
  ]);
  const records = makeTar([
    { name: 'g', type: 'g', data: Buffer.concat([paxRecord('mtime', '1.5'), paxRecord('uid', '7')]) },
    {
      name: 'f',
      data: 'content',
      pax: [
        ['path', `${'long/'.repeat(30)}f`],
        ['size', '7'],
        ['uid', '70000'],
        ['mtime', '-12.345678901'],
        ['SCHILY.xattr.user.a', Buffer.from([0, 10, 255])],
        ['SCHILY.xattr.security.capability', Buffer.alloc(20, 1)],
      ],
    },
    { name: '././@LongLink', type: 'L', magic: 'ustar ', data: `${'n'.repeat(200)}\0` },
    { name: '././@LongLink', type: 'K', magic: 'ustar ', data: `${'l'.repeat(200)}\0` },
    { name: 'cut', type: '2', link: 'cut', magic: 'ustar ' },
    { name: 'dev', type: '3', dev: [300, 70000] },
    { name: 'wide', uid: 4294967294, mtime: -5, data: 'x' },
  ]);
  return [sparse, records].map(sample);
}

/** A layer that tries to get out of its tree, hides things and links across it. */
export function layerTar(): TarSample {
  return sample(
    makeTar([
      { name: 'd/', type: '5' },
      { name: 'd/up', type: '2', link: '../../..' },
      { name: 'd/root', type: '2', link: '/' },
      { name: 'd/loop', type: '2', link: 'loop/x' },
      { name: 'd/up/etc/passwd', data: 'inside' },
      { name: '../../escape', data: 'x' },
      { name: '/absolute', data: 'x' },
      { name: 'd/root/d/deep/', type: '5' },
      { name: 'hard', type: '1', link: 'd/up/escape' },
      { name: 'd/.wh.gone', data: '' },
      { name: 'd/.wh..wh..opq', data: '' },
      { name: '.wh.etc', data: '' },
      { name: 'd/deep/fifo', type: '6' },
      { name: 'd/deep', data: 'a file over a directory' },
      { name: 'long', type: '2', link: 'n'.repeat(255) },
      { name: 'long/below', data: 'x' },
      { name: 'late/child', data: 'x' },
      { name: 'late/', type: '5' },
    ]),
  );
}

/** A damaged copy; mostly with checksums made right again, so that the damage is looked at. */
export function damagedTar({ tar, places }: TarSample, next: Random): Buffer {
  const damaged = mutate(tar, next, { places, unit: BLOCK });
  if (next(8) === 0) return damaged;
  for (let at = 0; at + BLOCK <= damaged.length; at += BLOCK) {
    const block = damaged.subarray(at, at + BLOCK);
    if (block.toString('latin1', 257, 262) === 'ustar' || next(50) === 0) fixChecksum(block);
  }
  return damaged;
}

/** Pieces of one size, as a stream would bring them. */
export function pieceSize(next: Random): number {
  return pick([1 << 20, 4096, 512, 700], next);
}

/** Everything but the insides of large files: those are runs of blocks that change nothing. */
function sample(tar: Buffer): TarSample {
  return { tar, places: placesOf(tar).filter((at) => isNearHeader(tar, at)) };
}

function isNearHeader(tar: Buffer, at: number): boolean {
  const block = at - (at % BLOCK);
  return [block, block - BLOCK, block - 2 * BLOCK].some(
    (start) => start >= 0 && tar.toString('latin1', start + 257, start + 262) === 'ustar',
  );
}
