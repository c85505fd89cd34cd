import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openNameless, openUnlinked } from '../../src/os/nameless-file.js';

describe('a file without a name', () => {
  let dir: string;
  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), 'rafter-test-'));
  });
  afterEach(() => rmSync(dir, { recursive: true }));

  it.each([
    ['that never had one', () => openNameless(dir)],
    ['that had one for a moment', () => openUnlinked(join(dir, 'name'))],
  ])('%s is written and read, and not seen in its directory', async (_, open) => {
    const file = await open();
    try {
      await file.writeFile('some bytes');
      expect(readdirSync(dir)).toEqual([]);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(20), 0, 20, 5);
      expect(buffer.toString('latin1', 0, bytesRead)).toBe('bytes');
      const { mode, nlink } = await file.stat();
      expect([mode & 0o777, nlink]).toEqual([0o600, 0]);
    } finally {
      await file.close();
    }
  });

  it('needs a directory that is there', async () => {
    await expect(openNameless(join(dir, 'none'))).rejects.toMatchObject({ code: 'ENOENT' });
  });

  it('never takes a file that is there', async () => {
    writeFileSync(join(dir, 'name'), 'kept');
    await expect(openUnlinked(join(dir, 'name'))).rejects.toMatchObject({ code: 'EEXIST' });
    expect(readdirSync(dir)).toEqual(['name']);
  });
});
