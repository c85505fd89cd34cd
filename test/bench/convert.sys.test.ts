import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { missingPrograms } from '../support/programs.js';
import type { Comparison } from './comparison.mjs';

const bench = resolve(import.meta.dirname, 'convert.mjs');
const MiB = 1 << 20;

describe.skipIf(missingPrograms('docker-registry'))(
  'the memory of a conversion, registry to registry',
  () => {
    it('stays below 250 MB for a layer of 300 MiB and for one of 20,000 files', async () => {
      const options = ['--synthetic', '--layer-size', '300', '--files', '20000', '--json'];
      const { stdout } = await promisify(execFile)(process.execPath, [bench, ...options]);
      const comparisons = stdout
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as Comparison);
      expect(comparisons.map(({ title }) => title.split(':')[0])).toEqual(['large', 'files']);
      const bytes = comparisons.map(({ title }) => 1e6 * Number(/([\d.]+) MB in/.exec(title)![1]));
      expect(bytes[0]).toBeGreaterThan(300 * MiB);
      expect(bytes[1]).toBeGreaterThan(20_000 * 512);
      for (const { rows } of comparisons) {
        expect(rows.map(({ name }) => name)).toEqual(['rafter']);
        const { peakRss, size } = rows[0]!.figures as { peakRss: number; size: number };
        // A Node process alone has more than the lower bound: it would mean that nothing was measured.
        expect(peakRss).toBeGreaterThan(40e6);
        // Measured with two threads: 180 MB. More threads take more.
        expect(peakRss).toBeLessThan(250e6);
        expect(size).toBeGreaterThan(0);
      }
    });
  },
);
