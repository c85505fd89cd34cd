import { existsSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parseXml } from '../support/xml.js';
import { compare } from './comparison.mjs';
import { drawRuns, numbersPage, type Run, withNumbers } from './page.mjs';

const run: Run = {
  bench: 'startup',
  date: '2026-11-22T00:25:00.000Z',
  short: true,
  machine: { cpu: 'Abacus(R)', cores: 2, memoryBytes: 24 * 2 ** 30, kernel: '6.18', system: 'Debian 12' },
  versions: { rafter: '1.2.3 (abc)', 'Node.js': '20.20.2' },
  comparisons: [
    compare({
      title: 'python, slow wire',
      reference: 'pull',
      rows: [
        { name: 'pull', ours: false, figures: { seconds: 10, bytes: 100e6 } },
        { name: 'rafter', ours: true, figures: { seconds: 2, bytes: 20e6 } },
        { name: 'rafter, optimized', ours: true, figures: { seconds: 0.9, bytes: 10e6 } },
      ],
    }),
    compare({ title: 'memory', rows: [{ name: 'rafter', ours: true, figures: { resident: 1e6 } }] }),
  ],
};
const other: Run = { ...run, bench: 'registry', short: false };
const readme = 'before\n<!-- numbers: npm run bench -- --readme -->\nold\n<!-- end of numbers -->\nafter\n';

describe('the numbers', () => {
  it('are between the markers of README: pictures, and the best of rafter beside the reference', () => {
    const text = withNumbers(readme, [other, run]);
    const [first, ...lines] = text.split('\n').filter((line) => line !== '');
    expect([first, lines.at(-1)]).toEqual(['before', 'after']);
    expect(lines.filter((line) => line.startsWith('!')).map((line) => /\((.*)\)/.exec(line)![1])).toEqual([
      'docs/bench/startup.svg',
      'docs/bench/registry.svg',
    ]);
    expect(lines).toContain(
      '| startup | python, slow wire | 10.00 s (pull) | 0.900 s (rafter, optimized) | **0.090** |',
    );
    expect(text).not.toContain('old');
    const [pull, ...own] = run.comparisons[0]!.rows;
    const alone = compare({ title: 'alone', reference: 'rafter', rows: own.slice(0, 1) });
    const between = compare({ title: 'between', reference: 'rafter', rows: [...own, pull!] });
    const compared = withNumbers(readme, [{ ...run, comparisons: [alone, between] }]);
    expect(compared).toContain(
      '| startup | between | 2.00 s (rafter) | 0.900 s (rafter, optimized) | **0.45** |',
    );
    expect(compared).not.toContain('| startup | alone |');
    expect(withNumbers(text, [other, run])).toBe(text);
    expect(() => withNumbers('no markers', [run])).toThrow('README.md has no lines');
  });

  it('are told in full, with where and when they were measured', () => {
    const text = numbersPage([run]);
    expect(text).toContain('2026-11-22, short run: 2 cores of Abacus, 24 GiB, Linux 6.18, Debian 12.');
    expect(text).toContain('rafter 1.2.3 (abc), Node.js 20.20.2.');
    expect(text).toContain('|  | seconds | ratio | MB | ratio |\n| --- | ---: | ---: | ---: | ---: |');
    expect(text).toContain('| rafter, optimized | 0.900 | 0.090 | 10.0 | 0.10 |');
    expect(text).toContain('### memory\n\n|  | resident MB |');
  });

  it('are drawn, a picture for each bench', () => {
    const pictures = drawRuns([other, run]);
    expect(Object.keys(pictures)).toEqual(['startup.svg', 'registry.svg']);
    for (const svg of Object.values(pictures)) expect(parseXml(svg).name).toBe('svg');
  });
});

describe('the numbers that are checked in', () => {
  const root = resolve(import.meta.dirname, '../..');
  const read = (path: string) => (existsSync(join(root, path)) ? readFileSync(join(root, path), 'utf8') : '');
  const { runs } = JSON.parse(read('docs/bench/results.json')) as { runs: Run[] };

  it('are what npm run bench -- --draw --readme makes of the results', () => {
    expect(read('docs/numbers.md')).toBe(numbersPage(runs));
    expect(read('README.md')).toBe(withNumbers(read('README.md'), runs));
    for (const [name, svg] of Object.entries(drawRuns(runs)))
      expect(read(`docs/bench/${name}`), name).toBe(svg);
  });

  it('say of each bench when, where and with what it was measured', () => {
    expect(runs.length).toBeGreaterThan(0);
    for (const { date, machine, versions, comparisons } of runs) {
      expect(new Date(date).toISOString()).toBe(date);
      expect(machine.cores).toBeGreaterThan(0);
      expect(Object.keys(versions)).toEqual(expect.arrayContaining(['rafter', 'Node.js']));
      for (const { rows } of comparisons) expect(rows.length).toBeGreaterThan(0);
    }
  });
});
