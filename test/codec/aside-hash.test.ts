import { createHash, randomBytes } from 'node:crypto';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { createAsideHash } from '../../src/codec/aside-hash.js';
import * as openssl from '../../src/os/openssl.js';

afterEach(() => {
  vi.restoreAllMocks();
});

const pieces = [1, 63, 64, 0, 300_000, 1_000_000].map((size) => randomBytes(size));

describe.each([
  ['on other threads', false],
  ['here, where OpenSSL is out of reach', true],
])('hashing %s', (_, isHere) => {
  const begin = (algorithm: 'sha256' | 'sha512') => {
    if (isHere) vi.spyOn(openssl, 'openssl').mockReturnValue(undefined);
    return createAsideHash(algorithm);
  };

  it.each(['sha256', 'sha512'] as const)(
    'gives the %s of what was given, in that order',
    async (algorithm) => {
      const hash = begin(algorithm);
      for (const piece of pieces) void hash.update(piece);
      expect(await hash.digest()).toBe(createHash(algorithm).update(Buffer.concat(pieces)).digest('hex'));
      hash.close();
    },
  );

  it('gives the digest of nothing', async () => {
    const hash = begin('sha256');
    expect(await hash.digest()).toBe(createHash('sha256').digest('hex'));
    hash.close();
  });

  it('works on several hashes at a time', async () => {
    const hashes = ['a', 'b', 'c', 'd', 'e', 'f'].map((letter) => {
      const bytes = Buffer.alloc(500_000, letter);
      return { hash: begin('sha256'), bytes, expected: createHash('sha256').update(bytes).digest('hex') };
    });
    await Promise.all(hashes.map(({ hash, bytes }) => hash.update(bytes)));
    for (const { hash, expected } of hashes) {
      expect(await hash.digest()).toBe(expected);
      hash.close();
    }
  });

  it('may be let go of at any time, more than once', async () => {
    const hash = begin('sha256');
    const update = hash.update(Buffer.alloc(1_000_000));
    hash.close();
    hash.close();
    await update.catch(() => {});
  });
});

it('is reached in this Node.js', () => {
  expect(openssl.openssl()).toBeDefined();
});

it('is not used any more when it was let go of', async () => {
  const hash = createAsideHash('sha256');
  await hash.update(Buffer.from('abc'));
  hash.close();
  await expect(hash.update(Buffer.from('d'))).rejects.toThrow('let go of');
  await expect(hash.digest()).rejects.toThrow('let go of');
});
