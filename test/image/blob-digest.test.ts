import { expect, it } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { blobDigest } from '../../src/image/blob-digest.js';

const abc = ociDigest(Buffer.from('abc'));
const other = ociDigest(Buffer.from('other'));

it('names what was written', () => {
  const digest = blobDigest();
  digest.update(Buffer.from('a'));
  digest.update(Buffer.from('bc'));
  expect(digest.finish(undefined)).toEqual({ digest: abc, size: 3 });
});

it('takes an expected digest only if it is the right one', () => {
  const right = blobDigest();
  right.update(Buffer.from('abc'));
  expect(right.finish(abc)).toEqual({ digest: abc, size: 3 });
  const wrong = blobDigest();
  wrong.update(Buffer.from('abc'));
  expect(() => wrong.finish(other)).toThrow(expect.objectContaining({ code: 'DIGEST_MISMATCH' }));
});

it('takes a digest that the caller computed, and needs it', () => {
  const given = blobDigest({ digestGiven: true });
  given.update(Buffer.from('abc'));
  expect(given.finish(abc)).toEqual({ digest: abc, size: 3 });
  expect(() => blobDigest({ digestGiven: true }).finish(undefined)).toThrow('without it');
});
