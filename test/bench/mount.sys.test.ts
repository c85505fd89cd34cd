import { execFile } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, describe, expect, it } from 'vitest';
import { missingPrograms } from '../support/programs.js';

const [bench, synthetic] = ['mount.mjs', 'synthetic.mjs'].map((name) =>
  resolve(import.meta.dirname, name),
) as [string, string];

describe.skipIf(missingPrograms('tar', 'find') || process.geteuid?.() !== 0)('the bench of mounts', () => {
  const dir = mkdtempSync(join(tmpdir(), 'rafter-mount-bench-'));
  afterAll(() => rmSync(dir, { recursive: true }));

  it('measures a driver next to a directory, cold and warm, and the memory of its processes', async () => {
    const { writeManyFiles } = await import(synthetic);
    await writeManyFiles(join(dir, 'layout'), 200);
    const options = ['--json', '--dir', dir, '--large-size', '2', '--runs', '1'];
    const only = ['libfuse', 'walk', 'sequential'].flatMap((word) => ['--only', word]);
    const { stdout } = await promisify(execFile)(process.execPath, [
      bench,
      ...options,
      ...only,
      `${join(dir, 'layout')}:files`,
    ]);
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, string | number>);
    const jobs = lines.filter(({ job }) => job !== 'memory');
    expect(jobs).toHaveLength(8);
    expect(jobs.every(({ seconds, timeRatio }) => Number(seconds) > 0 && Number(timeRatio) > 0)).toBe(true);
    expect(new Set(jobs.map(({ state }) => state))).toEqual(new Set(['cold', 'warm']));
    const memory = lines.filter(({ job }) => job === 'memory');
    expect(memory.map(({ process }) => process)).toEqual(['daemon', 'supervisor']);
    expect(memory.every(({ resident }) => Number(resident) > 20e6)).toBe(true);
  });
});
