import { createHash, randomBytes } from 'node:crypto';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createSpool } from '../../src/registry/spool.js';

const PIECE = randomBytes(400_000);
const PIECES = 4;

describe('a blob kept until a registry has it', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'rafter-test-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it('can be read from anywhere, and its file is never seen', async () => {
    const spool = createSpool({ tempDir: dir });
    try {
      for (let i = 0; i < PIECES; i++) await spool.write(PIECE);
      const whole = Buffer.concat(Array<Buffer>(PIECES).fill(PIECE));
      const digest = `sha256:${createHash('sha256').update(whole).digest('hex')}`;
      expect(spool.finish(undefined)).toEqual({ digest, size: whole.length });
      const read: Buffer[] = [];
      for await (const piece of spool.body(399_999).open()) read.push(piece as Buffer);
      expect(Buffer.concat(read).equals(whole.subarray(399_999))).toBe(true);
      expect(readdirSync(dir)).toEqual([]);
    } finally {
      await spool.remove();
    }
  });

  it('that has no place says which, and what to do', async () => {
    const spool = createSpool({ tempDir: join(dir, 'none') });
    const written = (async () => {
      for (let i = 0; i < PIECES; i++) await spool.write(PIECE);
    })();
    await expect(written).rejects.toMatchObject({
      code: 'FAILED',
      message: expect.stringContaining(`${join(dir, 'none')}: a blob cannot be kept there (ENOENT)`),
      hint: expect.stringContaining('TMPDIR'),
    });
    await spool.remove();
  });
});
