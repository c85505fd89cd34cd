import { createDecipheriv } from 'node:crypto';
import { messageOf, RafterError } from '../errors.js';

/** AES-128-XTS as Nydus uses it: one key and one tweak for all units of a blob. */
export interface UnitCipher {
  /** Two AES keys of 16 bytes each. */
  key: Buffer;
  /** The tweak, 16 bytes. */
  iv: Buffer;
}

const ALGORITHM = 'aes-128-xts';
/** XTS needs a whole AES block. */
const BLOCK_SIZE = 16;
/** What stands behind a unit that was filled up to a block. */
const PADDING_MARK = Buffer.from([0x78, 0x90]);
/** Stored bytes of a unit that has fewer than 16. */
const PADDED_SIZE = BLOCK_SIZE + PADDING_MARK.length;

/** Stored bytes of a unit of `size` bytes when it is encrypted. */
export function encryptedSize(size: number): number {
  return size < BLOCK_SIZE ? PADDED_SIZE : size;
}

/**
 * Decrypts one unit: a chunk, a batch, a chunk info array or its header. There is no check of integrity in XTS: wrong bytes come out
 * as other wrong bytes. Throws MALFORMED for fewer than 16 bytes, which no unit has.
 */
export function decryptUnit({ key, iv }: UnitCipher, stored: Buffer): Buffer {
  let clear: Buffer;
  try {
    const decipher = createDecipheriv(ALGORITHM, key, iv);
    clear = Buffer.concat([decipher.update(stored), decipher.final()]);
  } catch (error) {
    throw new RafterError(
      'MALFORMED',
      `encrypted unit of ${stored.length} bytes does not decrypt: ${messageOf(error)}`,
      { cause: error },
    );
  }
  return clear.subarray(0, clear.length - paddingOf(clear));
}

/** Bytes at the end of `clear` that only fill it up. */
function paddingOf(clear: Buffer): number {
  if (clear.length !== PADDED_SIZE || !clear.subarray(BLOCK_SIZE).equals(PADDING_MARK)) return 0;
  const missing = clear[BLOCK_SIZE - 1]!;
  if (missing < 1 || missing > BLOCK_SIZE) return 0;
  const filled = clear.subarray(BLOCK_SIZE - missing, BLOCK_SIZE).every((byte) => byte === missing);
  return filled ? missing + PADDING_MARK.length : 0;
}
