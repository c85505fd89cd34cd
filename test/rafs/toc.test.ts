import { describe, expect, test } from 'vitest';
import { sha256 } from '../../src/codec/digest.js';
import { parseBootstrap } from '../../src/rafs/bootstrap.js';
import { EXTENDED_OFFSET } from '../../src/rafs/extended-superblock.js';
import { RafsFlag } from '../../src/rafs/flags.js';
import { encodeTarFooter } from '../../src/rafs/tar-footer.js';
import {
  decodeInlineBootstrap,
  encodeToc,
  findInlineBootstrap,
  findToc,
  TOC_TAIL_SIZE,
} from '../../src/rafs/toc.js';
import { TocName } from '../../src/rafs/toc-entry.js';
import { walk } from '../../src/rafs/walk.js';
import { golden } from './golden.js';

function inlineBootstrap(file: Buffer): Buffer {
  const place = findInlineBootstrap(file.subarray(-TOC_TAIL_SIZE), file.length, 'layer');
  return decodeInlineBootstrap(file.subarray(place.offset, place.offset + place.storedSize), place, 'layer');
}

describe('the bootstrap inside a layer blob of Nydus', () => {
  test.each([
    ['full1', 'x'.repeat(64)],
    ['small', 'x'.repeat(64)],
    ['tiny-none', 'x'.repeat(64)],
    ['tiny-inline-notoc', 'x'.repeat(64)],
  ])('%s', (name, id) => {
    const bootstrap = parseBootstrap(inlineBootstrap(golden(`v6/${name}.blob`)), name);
    expect(bootstrap.blobs.map((blob) => blob.id)).toEqual([id]);
    expect([...walk(bootstrap)].length).toBe(bootstrap.inodeCount);
  });

  test('nodata: a blob of a bootstrap and nothing else', () => {
    const file = golden('v6/nodata.blob');
    expect(findToc(file, file.length, 'nodata')!.map((entry) => entry.name)).toEqual([TocName.BOOTSTRAP]);
    // Merging sets HAS_XATTR whether there are xattrs or not; nothing else differs.
    const merged = golden('v6/nodata.boot');
    merged.writeUInt32LE(merged.readUInt32LE(EXTENDED_OFFSET) & ~RafsFlag.HAS_XATTR, EXTENDED_OFFSET);
    expect(inlineBootstrap(file).equals(merged)).toBe(true);
  });

  test('a blob whose bootstrap is separate carries none', () => {
    const file = golden('v6/tiny-toc.blob');
    expect(() => inlineBootstrap(file)).toThrow(expect.objectContaining({ code: 'NOT_FOUND' }));
    const toc = findToc(file.subarray(-TOC_TAIL_SIZE), file.length, 'tiny-toc')!;
    expect(toc.map((entry) => entry.name)).toEqual([
      'image.blob',
      'blob.meta',
      'blob.meta.header',
      'blob.digest',
    ]);
  });

  test('a blob without tar headers is told so', () => {
    expect(() => inlineBootstrap(golden('v6/tiny-bare.blob'))).toThrow(
      /layer: tar header at offset .* GNU tar magic/,
    );
  });

  test('a changed bootstrap does not match its digest', () => {
    const file = golden('v6/tiny-none.blob');
    const place = findInlineBootstrap(file.subarray(-TOC_TAIL_SIZE), file.length, 'layer');
    const other = { ...place, digest: sha256(Buffer.from('other')) };
    const stored = file.subarray(place.offset, place.offset + place.storedSize);
    expect(() => decodeInlineBootstrap(stored, other, 'layer')).toThrow(
      expect.objectContaining({ code: 'DIGEST_MISMATCH' }),
    );
  });
});

describe('a table of contents that lies is refused', () => {
  const entry = {
    name: 'image.boot',
    compressor: 'none',
    digest: Buffer.alloc(32),
    offset: 0,
    storedSize: 10,
    size: 10,
  } as const;
  const read =
    (toc: Buffer, content = 10) =>
    () =>
      findToc(toc, content + toc.length, 'layer');

  test('sections inside the blob are found, one byte outside is not', () => {
    expect(read(encodeToc([entry]))()).toEqual([entry]);
    expect(read(encodeToc([{ ...entry, offset: 2 ** 40 }]))).toThrow(
      /TOC entry image.boot at offset 1099511627776/,
    );
    expect(read(encodeToc([{ ...entry, storedSize: 10 + 128 + 1 }]))).toThrow(/end outside the blob/);
  });

  test.each([0, 100, 128 * 1000])('a size of %d', (size) => {
    const toc = Buffer.concat([Buffer.alloc(128), encodeTarFooter({ name: 'rafs.blob.toc', size })]);
    expect(read(toc)).toThrow(expect.objectContaining({ code: 'MALFORMED' }));
  });

  test('an unknown compressor', () => {
    const toc = encodeToc([entry]);
    toc.writeUInt32LE(8, 0);
    expect(read(toc)).toThrow(/TOC entry flags/);
  });

  test('a raw bootstrap that is larger than its blob', () => {
    const footer = encodeTarFooter({ name: 'image.boot', size: 1000 });
    expect(() => findInlineBootstrap(footer, 600, 'layer')).toThrow(
      expect.objectContaining({ code: 'MALFORMED' }),
    );
  });
});
