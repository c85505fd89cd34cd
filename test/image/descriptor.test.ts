import { createHash } from 'node:crypto';
import * as v from 'valibot';
import { expect, it } from 'vitest';
import {
  algorithmOf,
  descriptorSchema,
  hexOf,
  parseDigest,
  verifyBytes,
} from '../../src/image/descriptor.js';
import { isDigest } from '../../src/image/digest.js';

const hex = 'ab'.repeat(32);

it('knows digests from other text', () => {
  expect(isDigest(`sha256:${hex}`)).toBe(true);
  expect(isDigest(`sha512:${hex}${hex}`)).toBe(true);
  for (const text of [
    hex,
    `sha256:${hex}a`,
    `sha256:${hex.toUpperCase()}`,
    `sha512:${hex}`,
    `md5:${hex}`,
    `sha256:${hex}\n`,
  ]) {
    expect(isDigest(text), text).toBe(false);
  }
  expect(parseDigest(`sha256:${hex}`, 'the id')).toBe(`sha256:${hex}`);
  expect(() => parseDigest('x'.repeat(500), 'the id')).toThrow(/^the id: "x{100}…" is not a digest$/);
  expect(hexOf(`sha256:${hex}`)).toBe(hex);
  expect(algorithmOf(`sha512:${hex}${hex}`)).toBe('sha512');
});

it('checks bytes against digest and size, with either algorithm', () => {
  const bytes = Buffer.from('hello');
  for (const algorithm of ['sha256', 'sha512']) {
    const digest = `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
    verifyBytes(bytes, { digest, size: 5 }, 'x');
    expect(() => verifyBytes(bytes, { digest, size: 6 }, 'x')).toThrow(
      expect.objectContaining({ code: 'TRUNCATED' }),
    );
    expect(() => verifyBytes(bytes, { digest, size: 4 }, 'x')).toThrow('5 bytes instead of 4');
    expect(() => verifyBytes(Buffer.from('hellO'), { digest, size: 5 }, 'x')).toThrow(
      expect.objectContaining({ code: 'DIGEST_MISMATCH' }),
    );
  }
});

it('keeps unknown members of a descriptor, and takes null for absent as Go writes it', () => {
  const given = {
    mediaType: 'a/b',
    digest: `sha256:${hex}`,
    size: 3,
    annotations: null,
    urls: null,
    extra: { a: 1 },
  };
  expect(v.parse(descriptorSchema, given)).toEqual({
    mediaType: 'a/b',
    digest: `sha256:${hex}`,
    size: 3,
    extra: { a: 1 },
  });
});

it.each([
  { size: -1 },
  { size: 1.5 },
  { size: 2 ** 53 },
  { size: '3' },
  { digest: 'sha256:abc' },
  { mediaType: '' },
  { annotations: { a: 1 } },
  { platform: 'linux/amd64' },
])('refuses a descriptor with %j', (wrong) => {
  const right = { mediaType: 'a/b', digest: `sha256:${hex}`, size: 3 };
  expect(v.safeParse(descriptorSchema, right).success).toBe(true);
  expect(v.safeParse(descriptorSchema, { ...right, ...wrong }).success).toBe(false);
});
