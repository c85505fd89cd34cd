// The figures of all benches as Markdown and as pictures.
import { BENCHES } from './benches.mjs';
import { cellsOf, FIGURES, ratioText } from './comparison.mjs';
import { drawComparisons } from './draw.mjs';

const BEGIN = '<!-- numbers: npm run bench -- --readme -->';
const END = '<!-- end of numbers -->';

/**
 * The pictures of runs, by the name of the file.
 * @param {import('./page.mjs').Run[]} runs
 * @returns {Record<string, string>}
 */
export function drawRuns(runs) {
  return Object.fromEntries(
    inOrder(runs).map(({ bench: { name, title, about }, run }) => [
      `${name}.svg`,
      drawComparisons({ title, about, foot: whereAndWhen(run), comparisons: run.comparisons }),
    ]),
  );
}

/**
 * Every figure of runs, as the text of a page beside the pictures' directory `bench`.
 * @param {import('./page.mjs').Run[]} runs
 */
export function numbersPage(runs) {
  const sections = inOrder(runs).map(({ bench, run }) => {
    const tables = run.comparisons.map(
      (comparison) => `### ${comparison.title}\n\n${table(cellsOf(comparison))}`,
    );
    return [
      `## ${bench.title}`,
      `![${bench.title}](bench/${bench.name}.svg)`,
      `${bench.about}. \`npm run bench:${bench.name}\`.`,
      `${whereAndWhen(run)}, ${run.machine.system}. ${programsOf(run)}.`,
      ...tables,
    ].join('\n\n');
  });
  return `# Numbers

Made by \`npm run bench -- --readme\`, which writes [all of them](bench/results.json) as JSON, too. A ratio is a figure as a part of the
reference's in the same run: less is better, and machines are not compared. [How to repeat them](development.md#benches).

${sections.join('\n\n')}
`;
}

/**
 * README with the numbers of `runs` between its markers.
 * @param {string} readme
 * @param {import('./page.mjs').Run[]} runs
 */
export function withNumbers(readme, runs) {
  const [begin, end] = [readme.indexOf(BEGIN), readme.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`README.md has no lines ${BEGIN} and ${END}`);
  return `${readme.slice(0, begin + BEGIN.length)}\n\n${summary(runs)}\n${readme.slice(end)}`;
}

/** The pictures, and a line for each comparison with a reference: that, and the best of rafter. */
function summary(runs) {
  const all = inOrder(runs);
  const pictures = all.map(({ bench: { name, title } }) => `![${title}](docs/bench/${name}.svg)`);
  const rows = all.flatMap(({ bench, run }) =>
    run.comparisons.flatMap((comparison) => summaryRow(bench.name, comparison)),
  );
  const head = ['', '', 'reference', 'rafter', 'ratio'];
  return `${pictures.join('\n\n')}\n\n${table([head, ...rows])}\n`;
}

function summaryRow(name, { title, reference, rows }) {
  const base = rows.find((row) => row.name === reference);
  if (!base) return [];
  const key = Object.keys(base.figures)[0];
  const ours = rows.filter((row) => row.ours && row.ratios[key] !== undefined);
  if (ours.length === 0) return [];
  const best = ours.reduce((least, row) => (row.figures[key] < least.figures[key] ? row : least));
  if (best === base) return [];
  const write = (row) => `${FIGURES[key].text(row.figures[key])} ${FIGURES[key].unit} (${row.name})`;
  return [[name, title, write(base), write(best), `**${ratioText(best.ratios[key])}**`]];
}

/** The runs whose benches there are, in the order of the list. */
function inOrder(runs) {
  return BENCHES.flatMap((bench) =>
    runs.filter((run) => run.bench === bench.name).map((run) => ({ bench, run })),
  );
}

function whereAndWhen({ date, short, machine: { cpu, cores, memoryBytes, kernel } }) {
  const memory = `${Math.round(memoryBytes / 2 ** 30)} GiB`;
  const when = `${date.slice(0, 10)}${short ? ', short run' : ''}`;
  return `${when}: ${cores} cores of ${cpu.replaceAll(/\((R|TM)\)/g, '')}, ${memory}, Linux ${kernel}`;
}

function programsOf({ versions }) {
  return Object.entries(versions)
    .map(([name, version]) => `${name} ${version}`)
    .join(', ');
}

/** Cells as a table, the head first; all but the first column stand right where they are numbers. */
function table([head, ...rows]) {
  const isNumber = (column) => rows.every((row) => /^[\d.*-]+$/.test(row[column]));
  const rule = head.map((_, i) => (i > 0 && isNumber(i) ? '---:' : '---'));
  return [head, rule, ...rows]
    .map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`)
    .join('\n');
}
