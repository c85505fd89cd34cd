import { expect, it } from 'vitest';
import { appendAll } from '../../src/os/append-all.js';

/** A file that takes at most `most` bytes at a time. */
function slowFile(most: number) {
  let content = '';
  const writev = (async (pieces: Buffer[]) => {
    expect(pieces.every(({ length }) => length > 0)).toBe(true);
    const taken = Buffer.concat(pieces).subarray(0, most);
    content += taken.toString();
    return { bytesWritten: taken.length, buffers: pieces };
  }) as unknown as Parameters<typeof appendAll>[0]['writev'];
  return { writev, content: () => content };
}

it.each([1, 2, 3, 5, 100])('writes everything once where %i bytes are taken at a time', async (most) => {
  const file = slowFile(most);
  const pieces = ['abc', '', 'd', 'efghi'].map((text) => Buffer.from(text));
  expect(await appendAll(file, pieces)).toBe(9);
  expect(file.content()).toBe('abcdefghi');
});

it('passes errors on', async () => {
  const writev = () => Promise.reject(new Error('ENOSPC'));
  await expect(appendAll({ writev }, [Buffer.from('a')])).rejects.toThrow('ENOSPC');
});
