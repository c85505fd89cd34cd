import { describe, expect, it } from 'vitest';
import { cellsOf, compare, formatComparison, median, type Row, ratioText } from './comparison.mjs';

const rows: Omit<Row, 'ratios'>[] = [
  { name: 'rafter', ours: true, figures: { seconds: 0.5, bytes: 2e6, size: 0.87 } },
  { name: 'other', ours: false, figures: { seconds: 2, bytes: 8e6 } },
];

describe('a comparison', () => {
  it('has the ratios to its reference, but not of figures that are ratios', () => {
    const { reference, rows: compared } = compare({ title: 'start', reference: 'other', rows });
    expect(reference).toBe('other');
    expect(compared.map(({ ratios }) => ratios)).toEqual([
      { seconds: 0.25, bytes: 0.25 },
      { seconds: 1, bytes: 1 },
    ]);
  });

  it('takes the first row if the reference is not here, and has no ratios without one', () => {
    expect(compare({ title: 'start', reference: 'absent', rows }).reference).toBe('rafter');
    const alone = compare({ title: 'memory', rows });
    expect('reference' in alone).toBe(false);
    expect(alone.rows.map(({ ratios }) => ratios)).toEqual([{}, {}]);
    expect(cellsOf(alone)[0]).toEqual(['', 'seconds', 'MB', 'size : source']);
  });

  it('has no ratio to nothing', () => {
    const [first, second] = [0, 3].map((cpu) => ({ name: `${cpu}`, ours: false, figures: { cpu } }));
    const { rows: compared } = compare({ title: 'idle', reference: '0', rows: [first!, second!] });
    expect(compared.map(({ ratios }) => ratios)).toEqual([{}, {}]);
  });

  it('is a table for people, each figure with its ratio', () => {
    expect(formatComparison(compare({ title: 'start', reference: 'other', rows }))).toBe(
      [
        'start',
        '          seconds  ratio   MB  ratio  size : source',
        '  rafter    0.500   0.25  2.0   0.25          0.870',
        '  other      2.00   1.00  8.0   1.00              -',
      ].join('\n'),
    );
  });
});

it('ratios have two digits, and three below a tenth', () => {
  expect([0.09949, 0.0995, 0.346, 12].map(ratioText)).toEqual(['0.099', '0.10', '0.35', '12.00']);
});

it('the median is the middle, whatever the order', () => {
  expect(median([10, 9, 1])).toBe(9);
  expect(median([2, 1])).toBe(2);
});
