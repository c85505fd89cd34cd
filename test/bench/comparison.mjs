const seconds = (value) => (value < 0.995 ? value.toFixed(3) : value.toFixed(2));
const count = (value) => value.toFixed(0);
const megabytes = (bytes) => (bytes / 1e6).toFixed(1);

/** What is measured; `text` writes a figure in the unit, `alone` says that it is a ratio of its own. */
export const FIGURES = {
  seconds: { head: 'seconds', unit: 's', text: seconds },
  cpu: { head: 'CPU s', unit: 's', text: (value) => value.toFixed(2) },
  bytes: { head: 'MB', unit: 'MB', text: megabytes },
  rate: { head: 'MB/s', unit: 'MB/s', text: (value) => (value / 1e6).toFixed(0), alone: true },
  size: { head: 'size : source', unit: '', text: (value) => value.toFixed(3), alone: true },
  roundTrips: { head: 'round trips', unit: '', text: String, alone: true },
  peakRss: { head: 'peak MB', unit: 'MB', text: megabytes },
  resident: { head: 'resident MB', unit: 'MB', text: megabytes },
  anonymous: { head: 'anonymous MB', unit: 'MB', text: megabytes },
  slowest: { head: 'slowest s', unit: 's', text: seconds },
  requests: { head: 'requests', unit: '', text: count },
  fromSeeds: { head: 'MB of seeds', unit: 'MB', text: megabytes },
  fromPeers: { head: 'MB of peers', unit: 'MB', text: megabytes },
  kept: { head: 'MB in seeds', unit: 'MB', text: megabytes },
  registrations: { head: 'registrations', unit: '', text: count },
};

/**
 * Makes a comparison of rows without ratios; the first row is the reference if there is none of the name.
 * @param {{ title: string, reference?: string, rows: Omit<import('./comparison.mjs').Row, 'ratios'>[] }} measured
 * @returns {import('./comparison.mjs').Comparison}
 */
export function compare({ title, reference, rows }) {
  const base = reference && (rows.find(({ name }) => name === reference) ?? rows[0]);
  const ratiosOf = (figures) =>
    Object.fromEntries(
      Object.keys(figures)
        .filter((key) => !FIGURES[key].alone && base?.figures[key] > 0)
        .map((key) => [key, figures[key] / base.figures[key]]),
    );
  return {
    title,
    ...(base && { reference: base.name }),
    rows: rows.map(({ name, ours, figures }) => ({ name, ours, figures, ratios: ratiosOf(figures) })),
  };
}

/** A ratio as people read it: two digits behind the point, three below a tenth. */
export function ratioText(ratio) {
  return ratio < 0.0995 ? ratio.toFixed(3) : ratio.toFixed(2);
}

/**
 * The cells of a comparison, the head first: each figure is followed by its ratio.
 * @param {import('./comparison.mjs').Comparison} comparison
 * @returns {string[][]}
 */
export function cellsOf({ reference, rows }) {
  const keys = [...new Set(rows.flatMap(({ figures }) => Object.keys(figures)))];
  const columns = keys.flatMap((key) => {
    const { head, text, alone } = FIGURES[key];
    const figure = [
      head,
      ...rows.map(({ figures }) => (figures[key] === undefined ? '-' : text(figures[key]))),
    ];
    const ratio = [
      'ratio',
      ...rows.map(({ ratios }) => (ratios[key] === undefined ? '-' : ratioText(ratios[key]))),
    ];
    return reference === undefined || alone ? [figure] : [figure, ratio];
  });
  return ['', ...rows.map(({ name }) => name)].map((name, i) => [
    name,
    ...columns.map((column) => column[i]),
  ]);
}

/**
 * Prints a comparison: for people as a table, or as one line of JSON.
 * @param {import('./comparison.mjs').Comparison} comparison
 * @param {{ json: boolean }} how
 */
export function printComparison(comparison, { json }) {
  console.log(json ? JSON.stringify(comparison) : `\n${formatComparison(comparison)}`);
}

/** A comparison as text for a terminal. */
export function formatComparison(comparison) {
  const cells = cellsOf(comparison);
  const widths = cells[0].map((_, i) => Math.max(...cells.map((row) => row[i].length)));
  const line = (row) =>
    row.map((cell, i) => (i === 0 ? cell.padEnd(widths[0]) : cell.padStart(widths[i]))).join('  ');
  return [comparison.title, ...cells.map((row) => `  ${line(row)}`)].join('\n');
}

/** The middle one of some numbers, the upper one of two. */
export function median(numbers) {
  return numbers.toSorted((a, b) => a - b)[numbers.length >> 1];
}
