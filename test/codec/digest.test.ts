import { createHash } from 'node:crypto';
import { expect, it } from 'vitest';
import { chunkDigest, crc32c, DIGEST_SIZE, ociDigest, sha256, sha256Stream } from '../../src/codec/digest.js';

const abc = Buffer.from('abc');

it('computes BLAKE3 and SHA-256 of known inputs', () => {
  expect(chunkDigest('blake3', abc).toString('hex')).toBe(
    '6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85',
  );
  expect(chunkDigest('sha256', abc).equals(createHash('sha256').update(abc).digest())).toBe(true);
  expect(chunkDigest('blake3', Buffer.alloc(0))).toHaveLength(DIGEST_SIZE);
});

it('computes CRC-32C as unsigned 32-bit numbers', () => {
  expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283);
  expect(crc32c(Buffer.alloc(0))).toBe(0);
});

it('gives the same SHA-256 at once and in pieces', () => {
  const running = sha256Stream();
  running.update(abc.subarray(0, 1));
  running.update(abc.subarray(1));
  expect(`sha256:${running.hex()}`).toBe(ociDigest(abc));
  expect(sha256(abc).toString('hex')).toBe(ociDigest(abc).slice(7));
});
