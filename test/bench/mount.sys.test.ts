import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { missingPrograms } from '../support/programs.js';
import type { Comparison } from './comparison.mjs';

const [bench, synthetic] = ['mount.mjs', 'synthetic.mjs'].map((name) =>
  resolve(import.meta.dirname, name),
) as [string, string];

describe.skipIf(missingPrograms('tar', 'find') || process.geteuid?.() !== 0)('the bench of mounts', () => {
  const dir = mkdtempSync(join(tmpdir(), 'rafter-mount-bench-'));
  afterAll(() => rmSync(dir, { recursive: true }));

  it('measures a driver next to a directory, cold and warm, its first listing, and the memory of its processes', async () => {
    const { writeManyFiles } = await import(synthetic);
    await writeManyFiles(join(dir, 'layout'), 200);
    const options = ['--json', '--dir', dir, '--large-size', '2', '--runs', '1'];
    const only = ['libfuse', 'walk', 'sequential', 'first ls'].flatMap((word) => ['--only', word]);
    const { stdout } = await promisify(execFile)(process.execPath, [
      bench,
      ...options,
      ...only,
      `${join(dir, 'layout')}:files`,
    ]);
    const comparisons = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Comparison);
    const memory = comparisons.pop()!;
    const firstLs = comparisons.shift()!;
    expect(firstLs.title).toMatch(/^first ls/);
    expect(firstLs.rows).toMatchObject([{ name: 'fuse, libfuse', figures: { roundTrips: 0 } }]);
    const jobs = ['walk', 'sequential'].flatMap((job) => [`${job}, cold`, `${job}, warm`]);
    expect(comparisons.map(({ title }) => title)).toEqual(jobs);
    for (const { reference, rows } of comparisons) {
      expect(rows.map(({ name }) => name)).toEqual([reference, 'fuse, libfuse']);
      expect(rows.every(({ figures }) => figures.seconds! > 0)).toBe(true);
      expect(rows[1]!.ratios.seconds).toBeCloseTo(rows[1]!.figures.seconds! / rows[0]!.figures.seconds!);
    }
    expect(memory.rows.map(({ name }) => name)).toEqual([
      'fuse, libfuse: daemon',
      'fuse, libfuse: supervisor',
    ]);
    expect(memory.rows.every(({ figures }) => figures.resident! > 20e6)).toBe(true);
  });
});
