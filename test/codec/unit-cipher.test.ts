import { createCipheriv, randomBytes } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { decryptUnit, encryptedSize } from '../../src/codec/unit-cipher.js';

const cipher = { key: randomBytes(32), iv: randomBytes(16) };

/** AES-128-XTS over whole units. */
function encrypt(clear: Buffer): Buffer {
  const aes = createCipheriv('aes-128-xts', cipher.key, cipher.iv);
  return Buffer.concat([aes.update(clear), aes.final()]);
}

/** A unit of fewer than 16 bytes as Nydus fills it up. */
function filledUp(clear: Buffer): Buffer {
  const missing = 16 - clear.length;
  return Buffer.concat([clear, Buffer.alloc(missing, missing), Buffer.from([0x78, 0x90])]);
}

describe('decryptUnit', () => {
  test.each([16, 17, 18, 31, 4096, 100_001])('%i bytes', (size) => {
    const clear = randomBytes(size);
    expect(encryptedSize(size)).toBe(size);
    expect(decryptUnit(cipher, encrypt(clear)).equals(clear)).toBe(true);
  });

  test('fewer than a block: every length', () => {
    for (let size = 0; size < 16; size++) {
      const clear = randomBytes(size);
      const stored = encrypt(filledUp(clear));
      expect(stored.length).toBe(encryptedSize(size));
      expect(decryptUnit(cipher, stored).equals(clear), `${size}`).toBe(true);
    }
  });

  test.each<[string, Buffer]>([
    ['without the mark', Buffer.from('0123456789abcdef\x78\x91', 'latin1')],
    ['with the mark, but nothing filled up', Buffer.from('0123456789abcde\x03\x78\x90', 'latin1')],
    ['with the mark behind a zero', Buffer.from('0123456789abcde\x00\x78\x90', 'latin1')],
    ['with the mark behind more than a block', Buffer.from(`${'\x11'.repeat(16)}\x78\x90`, 'latin1')],
  ])('18 bytes %s stay', (_, clear) => {
    expect(decryptUnit(cipher, encrypt(clear)).equals(clear)).toBe(true);
  });

  test('fewer than 16 stored bytes are no unit', () => {
    expect(() => decryptUnit(cipher, Buffer.alloc(15))).toThrow(
      expect.objectContaining({
        code: 'MALFORMED',
        message: expect.stringContaining('encrypted unit of 15 bytes'),
      }),
    );
  });
});
