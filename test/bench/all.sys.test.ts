import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, expect, it } from 'vitest';
import { missingPrograms } from '../support/programs.js';
import type { Run } from './page.mjs';

const all = resolve(import.meta.dirname, 'all.mjs');
const tiny = `${resolve(import.meta.dirname, '../../fixtures/golden/oci/tiny-src')}:latest`;
const dir = mkdtempSync(join(tmpdir(), 'rafter-all-benches-'));
afterAll(() => rmSync(dir, { recursive: true }));

it.skipIf(missingPrograms('docker-registry'))(
  'npm run bench writes the results of a bench and its picture beside those of the others',
  async () => {
    const { RAFTER_PEERS: _, ...env } = process.env;
    const bench = (...args: string[]) =>
      promisify(execFile)(process.execPath, [all, '--out', dir, ...args], { env });
    const results = () => JSON.parse(readFileSync(join(dir, 'results.json'), 'utf8')).runs as Run[];
    const { stdout } = await bench('--short', '--only', 'convert', tiny);
    expect(stdout).toMatch(/^latest: 2 layers, /m);
    const [run, ...more] = results();
    expect(more).toEqual([]);
    expect(run).toMatchObject({ bench: 'convert', short: true });
    expect(run!.comparisons[0]!.rows[0]).toMatchObject({ name: 'rafter', ours: true });
    expect(run!.versions.rafter).toMatch(/^\d+\.\d+\.\d+/);
    expect(run!.machine.memoryBytes).toBeGreaterThan(2 ** 28);
    expect(readdirSync(dir).sort()).toEqual(['convert.svg', 'results.json']);

    const other = { ...run!, bench: 'mount', date: '2026-01-02T03:04:05.000Z' };
    writeFileSync(join(dir, 'results.json'), JSON.stringify({ runs: [run, other] }));
    await bench('--draw');
    expect(results()).toEqual([run, other]);
    expect(readFileSync(join(dir, 'mount.svg'), 'utf8')).toContain('2026-01-02');
    await expect(bench('--only', 'mounts')).rejects.toThrow('there is no bench mounts');
  },
);
