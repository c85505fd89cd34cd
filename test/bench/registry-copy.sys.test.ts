import { execFile } from 'node:child_process';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { missingPrograms } from '../support/programs.js';

const tiny = resolve(import.meta.dirname, '../../fixtures/golden/oci/tiny-src');

it.skipIf(missingPrograms('docker-registry', 'skopeo'))(
  'measures push, pull and copy by both programs, near and over the wire',
  async () => {
    const script = resolve(import.meta.dirname, 'registry-copy.mjs');
    const args = [script, tiny, '--rounds', '1', '--rtt', '40', '--mbit', '500', '--json'];
    const rows = JSON.parse((await promisify(execFile)(process.execPath, args)).stdout);
    expect(rows.map(({ kind }: { kind: string }) => kind)).toEqual([
      'push',
      'pull',
      'copy',
      'push',
      'pull',
      'copy',
    ]);
    for (const { network, rafter, skopeo } of rows) {
      for (const { seconds, cpu, peakRss } of [rafter, skopeo]) {
        // Several round trips of 40 ms at least, where there is a wire.
        expect(seconds).toBeGreaterThan(network === 'loopback' ? 0 : 0.12);
        expect(cpu).toBeGreaterThan(0);
        expect(peakRss).toBeGreaterThan(1e6);
      }
    }
  },
);
