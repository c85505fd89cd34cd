import { expect } from 'vitest';
import { parseBootstrap } from '../../../src/rafs/bootstrap.js';
import { walk } from '../../../src/rafs/walk.js';
import { buildSample, type Sample } from './sample.js';

/** Everything that a bootstrap can be asked for, one text per name. Throws what the reader throws. */
export function readAll(bytes: Buffer, name = 'sample'): string[] {
  const bootstrap = parseBootstrap(bytes, name);
  const names = [...walk(bootstrap)].map(({ path, inode }) => {
    const target = inode.type === 'symlink' ? [bootstrap.readlink(inode).toString()] : [];
    if (inode.type === 'dir') bootstrap.lookup(inode, Buffer.from('text-100'));
    const xattrs = bootstrap.xattrs(inode).map(({ name, value }) => `${name}=${value}`);
    const chunks = Array.from({ length: inode.chunkCount }, (_, k) =>
      JSON.stringify(bootstrap.chunkAt(inode, k)),
    );
    return [path.toString(), inode.nid, ...target, ...xattrs, ...chunks].join(' ');
  });
  bootstrap.blobs.forEach((blob, i) => {
    const map = bootstrap.chunkMap(i)!;
    for (let index = 0; index < map.chunkCount; index++) {
      const { decodedOffset, size, storedOffset, storedSize } = map.chunk(index);
      const isInside =
        decodedOffset + size <= blob.uncompressedSize && storedOffset + storedSize <= blob.compressedSize;
      if (!isInside) throw new Error(`chunk ${index} leaves its blob`);
      if (map.chunkAtDecoded(decodedOffset) !== index && size > 0)
        throw new Error(`chunk ${index} is not found`);
    }
  });
  return names;
}

/** Expects that reading the sample, with `change` made to its bytes, ends in an error whose message has `text` in it. */
export function expectError(
  sample: Sample,
  code: string,
  text: string,
  change?: (bytes: Buffer, offsets: number[]) => void,
): void {
  const { bytes, offsets } = buildSample(sample);
  change?.(bytes, offsets);
  expect(() => readAll(bytes)).toThrow(
    expect.objectContaining({ code, message: expect.stringContaining(text) }),
  );
}
