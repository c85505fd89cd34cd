import { createHash, randomBytes } from 'node:crypto';
import { afterAll, describe, expect, it } from 'vitest';
import { HashThread } from '../../src/codec/hash-thread.js';

const MiB = 1 << 20;

describe('a hash in another thread', () => {
  const thread = new HashThread();
  afterAll(() => thread.close());

  const digestOf = (algorithm: string, bytes: Buffer) => createHash(algorithm).update(bytes).digest('hex');

  it.for([
    ['nothing', 0, 1],
    ['one byte', 1, 1],
    ['many small pieces', 300_000, 100],
    ['pieces of odd size beyond all buffers', 9 * MiB + 1, 123_457],
    ['one piece beyond all buffers', 9 * MiB + 1, 10 * MiB],
    ['pieces that fill the buffers exactly', 8 * MiB, MiB / 2],
  ] as const)('gives the digest of %s', async ([, size, pieceSize]) => {
    const bytes = randomBytes(size);
    for (const algorithm of ['sha256', 'sha512'] as const) {
      const hash = thread.start(algorithm);
      for (let at = 0; at < size; at += pieceSize) await hash.update(bytes.subarray(at, at + pieceSize));
      expect(await hash.digest()).toBe(digestOf(algorithm, bytes));
    }
  });

  it('lets its caller use a buffer again at once', async () => {
    const hash = thread.start('sha256');
    const buffer = Buffer.alloc(700_000);
    for (let i = 0; i < 20; i++) await hash.update(buffer.fill(i));
    const whole = Buffer.concat(Array.from({ length: 20 }, (_, i) => Buffer.alloc(buffer.length, i)));
    expect(await hash.digest()).toBe(digestOf('sha256', whole));
  });

  it('holds a caller back that is faster than it', async () => {
    const hash = thread.start('sha256');
    const piece = Buffer.alloc(MiB);
    let waits = 0;
    for (let i = 0; i < 8; i++) {
      const room = hash.update(piece);
      if (room !== undefined) waits++;
      await room;
    }
    expect(waits).toBeGreaterThan(0);
    expect(await hash.digest()).toBe(digestOf('sha256', Buffer.alloc(8 * MiB)));
  });

  it('keeps several digests apart, also when one is dropped', async () => {
    const hashes = [thread.start('sha256'), thread.start('sha256'), thread.start('sha512')] as const;
    const bytes = randomBytes(6 * MiB);
    for (let at = 0; at < bytes.length; at += 50_000) {
      const piece = bytes.subarray(at, at + 50_000);
      await Promise.all(hashes.map((hash) => hash.update(piece)));
    }
    hashes[1].drop();
    expect(await hashes[2].digest()).toBe(digestOf('sha512', bytes));
    expect(await hashes[0].digest()).toBe(digestOf('sha256', bytes));
    hashes[0].drop();
  });
});

it('fails what is under way when the hash thread is closed', async () => {
  const thread = new HashThread();
  const hash = thread.start('sha256');
  hash.update(Buffer.alloc(MiB));
  const digest = hash.digest();
  const failed = expect(digest).rejects.toThrow('ended');
  await thread.close();
  await failed;
  await expect(thread.start('sha256').digest()).rejects.toThrow('ended');
});
