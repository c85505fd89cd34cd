import { createHash, randomBytes } from 'node:crypto';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { HashThread, type ThreadHash } from '../../src/codec/hash-thread.js';

let thread: HashThread;
beforeAll(() => {
  thread = new HashThread();
});
afterAll(() => thread.close());

const done = Promise.resolve();

async function feed(hash: ThreadHash, bytes: Buffer): Promise<void> {
  for (let at = 0; at < bytes.length; ) {
    const copied = bytes.copy(await hash.room(), 0, at);
    hash.add(copied, done);
    at += copied;
  }
}

it.each(['sha256', 'sha512'] as const)('gives the %s of what was added', async (algorithm) => {
  const bytes = randomBytes(3_333_333);
  const hash = thread.begin(algorithm);
  await feed(hash, bytes);
  expect(await hash.digest()).toBe(createHash(algorithm).update(bytes).digest('hex'));
  hash.close();
});

it('gives the digest of nothing, and works on several hashes at a time', async () => {
  const empty = thread.begin('sha256');
  const texts = ['a', 'b', 'c'].map((letter) => Buffer.alloc(1_500_000, letter));
  const hashes = texts.map(() => thread.begin('sha256'));
  await Promise.all(texts.map((text, i) => feed(hashes[i]!, text)));
  expect(await Promise.all([empty, ...hashes].map((hash) => hash.digest()))).toEqual(
    [Buffer.alloc(0), ...texts].map((text) => createHash('sha256').update(text).digest('hex')),
  );
  for (const hash of [empty, ...hashes]) hash.close();
});

it('gives memory away again only when it is neither hashed nor in use', async () => {
  const hash = thread.begin('sha256');
  let release = () => {};
  const inUse = new Promise<void>((resolve, reject) => {
    release = () => reject(new Error('told elsewhere'));
    void resolve;
  });
  const first = await hash.room();
  hash.add(1, inUse);
  const others = new Set<Buffer>();
  let isFree = false;
  const again = (async () => {
    for (;;) {
      const room = await hash.room();
      if (room === first) break;
      others.add(room);
      hash.add(1, done);
    }
    isFree = true;
  })();
  const other = thread.begin('sha256');
  // By the time that a later hash is done, those before it are.
  await feed(other, Buffer.alloc(2_000_000));
  await other.digest();
  expect(isFree).toBe(false);
  expect(others.size).toBeGreaterThan(0);
  release();
  await again;
  hash.close();
  other.close();
});

it('a hash that is let go of leaves the others alone', async () => {
  const dropped = thread.begin('sha256');
  dropped.add((await dropped.room()).length, done);
  dropped.close();
  const hash = thread.begin('sha256');
  await feed(hash, Buffer.from('abc'));
  expect(await hash.digest()).toBe(createHash('sha256').update('abc').digest('hex'));
  hash.close();
});

it('lets nobody wait for a thread that has ended', async () => {
  const short = new HashThread();
  const hash = short.begin('sha256');
  hash.add((await hash.room()).length, done);
  const underWay = [hash.room(), hash.digest()];
  await short.close();
  await Promise.allSettled(underWay);
  await expect(hash.digest()).rejects.toThrow('has ended');
  await expect(short.begin('sha512').digest()).rejects.toThrow('has ended');
});
