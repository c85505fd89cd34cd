import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { missingPrograms } from '../support/programs.js';
import type { Comparison } from './comparison.mjs';

const tiny = resolve(import.meta.dirname, '../../fixtures/golden/oci/tiny-src');

it.skipIf(missingPrograms('docker-registry', 'skopeo'))(
  'measures push, pull and copy by both programs, near and over the wire',
  async () => {
    const script = resolve(import.meta.dirname, 'registry-copy.mjs');
    const args = [script, `${tiny}:latest`, '--rounds', '1', '--rtt', '40', '--mbit', '500', '--json'];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    const comparisons = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Comparison);
    expect(comparisons.map(({ title }) => title)).toEqual(
      ['loopback', '40 ms, 500 Mbit/s'].flatMap((network) => [
        `push, ${network}`,
        `pull, ${network}`,
        `copy, ${network}`,
      ]),
    );
    for (const { title, rows } of comparisons) {
      expect(rows.map(({ name }) => name)).toEqual(['rafter', 'skopeo']);
      for (const { figures } of rows) {
        // Several round trips of 40 ms at least, where there is a wire.
        expect(figures.seconds).toBeGreaterThan(title.endsWith('loopback') ? 0 : 0.12);
        expect(figures.cpu).toBeGreaterThan(0);
        expect(figures.peakRss).toBeGreaterThan(1e6);
      }
    }
  },
);
