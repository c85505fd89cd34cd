import { closeSync, openSync, readSync } from 'node:fs';

/** `bytes` random bytes of the kernel as hexadecimal digits. For commands that are waited for: to load `node:crypto` takes 3 ms. */
export function randomHex(bytes: number): string {
  const fd = openSync('/dev/urandom', 'r');
  try {
    const random = Buffer.alloc(bytes);
    // random(4): up to 256 bytes come whole.
    if (readSync(fd, random) !== bytes) throw new Error(`/dev/urandom gave less than ${bytes} bytes`);
    return random.toString('hex');
  } finally {
    closeSync(fd);
  }
}
