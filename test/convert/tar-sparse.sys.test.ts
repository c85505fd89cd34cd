import { spawnSync } from 'node:child_process';
import { closeSync, ftruncateSync, mkdtempSync, openSync, readFileSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readAll } from './read-all.js';

/** Sparse files as GNU tar itself packs them, in each of its formats. */
describe('sparse files by GNU tar', () => {
  const dir = mkdtempSync(join(tmpdir(), 'rafter-sparse-'));
  const extents = [1, 3, 4, 5, 12, 30];
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  beforeAll(() => {
    for (const count of extents) {
      const fd = openSync(join(dir, `file-${count}`), 'w');
      for (let i = 0; i < count; i++) writeSync(fd, `data ${i}`, 65536 * (2 * i + 1));
      ftruncateSync(fd, 65536 * (2 * count + 1));
      closeSync(fd);
    }
  });

  it.each([
    ['gnu', []],
    ['pax 0.0', ['--format=pax', '--sparse-version=0.0']],
    ['pax 0.1', ['--format=pax', '--sparse-version=0.1']],
    ['pax 1.0', ['--format=pax', '--sparse-version=1.0']],
  ])('%s', async (_, options) => {
    const names = extents.map((count) => `file-${count}`);
    const format = options.length > 0 ? options : ['--format=gnu'];
    const tar = spawnSync('tar', ['-C', dir, '--sparse', ...format, '-c', ...names], { maxBuffer: 1 << 26 });
    expect(tar.status).toBe(0);
    expect(tar.stdout.length, 'the files were packed with their holes').toBeLessThan(2_000_000);
    const entries = await readAll(tar.stdout);
    expect(entries.map(({ name }) => name)).toEqual(names);
    for (const entry of entries) {
      expect(entry.content.equals(readFileSync(join(dir, entry.name))), entry.name).toBe(true);
    }
  });
});
