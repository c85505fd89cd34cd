import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import type { Comparison } from './comparison.mjs';

const [bench, image] = ['memory.mjs', '../../fixtures/golden/oci/tiny-src'].map((name) =>
  resolve(import.meta.dirname, name),
) as [string, string];

it.skipIf(process.geteuid?.() !== 0)(
  'the bench of memory measures both processes at each number of mounts',
  async () => {
    const args = [bench, '--json', '--mounts', '1,3', '--rest', '1', `${image}:latest`];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    const { rows } = JSON.parse(stdout) as Comparison;
    expect(rows.map(({ name }) => name)).toEqual([
      '1 mounts: daemon',
      '1 mounts: supervisor',
      '3 mounts: daemon',
      '3 mounts: supervisor',
    ]);
    for (const { figures } of rows) {
      expect(figures.anonymous).toBeGreaterThan(1e6);
      expect(figures.resident).toBeGreaterThan(figures.anonymous!);
    }
  },
);
