import { describe, expect, it } from 'vitest';
import { MAX_FILE_SIZE, MAX_OWNER_ID, MAX_SPARSE_EXTENTS } from '../../src/convert/tar-entry.js';
import { readTar } from '../../src/convert/tar-reader.js';
import { inPieces } from './read-all.js';
import { makeTar, type TarItem } from './tar-writer.js';

/** What the first entry's headers say. */
async function firstOf(item: TarItem) {
  for await (const { size, uid, gid } of readTar(inPieces(makeTar([item])), 'layer 1'))
    return { size, uid, gid };
  throw new Error('no entry');
}

it('a size beyond 8 GiB is read in both of its forms', async () => {
  const size = 9 * 2 ** 30 + 1;
  expect(await firstOf({ name: 'f', size })).toMatchObject({ size });
  expect(await firstOf({ name: 'f', pax: [['size', String(size)]] })).toMatchObject({ size });
});

describe('at the limit, and one past it:', () => {
  it.each(['uid', 'gid'] as const)('%s', async (field) => {
    const owned = (id: number) => firstOf({ name: 'f', pax: [[field, String(id)]] });
    expect(await owned(MAX_OWNER_ID)).toMatchObject({ [field]: MAX_OWNER_ID });
    await expect(owned(MAX_OWNER_ID + 1)).rejects.toMatchObject({
      code: 'UNSUPPORTED',
      message: expect.stringContaining(field),
    });
  });

  it('size of a file', async () => {
    const sized = (size: number) => firstOf({ name: 'f', pax: [['size', String(size)]] });
    const holes = (size: number) =>
      firstOf({
        name: 'f',
        pax: [
          ['GNU.sparse.size', String(size)],
          ['GNU.sparse.map', `${size},0`],
        ],
      });
    for (const make of [sized, holes]) {
      expect(await make(MAX_FILE_SIZE)).toMatchObject({ size: MAX_FILE_SIZE });
      await expect(make(MAX_FILE_SIZE + 1)).rejects.toMatchObject({
        code: 'LIMIT_EXCEEDED',
        message: expect.stringContaining('"f"'),
      });
    }
  });

  it('extents of a sparse file', async () => {
    const read = async (count: number) => {
      const map = Buffer.from(`${count}\n${'0\n0\n'.repeat(count)}`);
      const item: TarItem = {
        name: 'f',
        data: Buffer.concat([map, Buffer.alloc(-map.length & 511)]),
        pax: [
          ['GNU.sparse.major', '1'],
          ['GNU.sparse.minor', '0'],
          ['GNU.sparse.realsize', '7'],
        ],
      };
      let size = 0;
      for await (const { body } of readTar(inPieces(makeTar([item])), 'layer 1')) {
        for await (const piece of body) size += piece.length;
      }
      return size;
    };
    expect(await read(MAX_SPARSE_EXTENTS)).toBe(7);
    await expect(read(MAX_SPARSE_EXTENTS + 1)).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      message: expect.stringContaining('"f"'),
    });
  });
});
