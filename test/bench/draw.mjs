// Pictures of comparisons: bars as SVG that needs nothing else, light or dark as the reader's system is.
import { FIGURES, ratioText } from './comparison.mjs';

const WIDTH = 880;
const MARGIN = 20;
const GAP = 28;
const COLUMNS = 2;
const PANEL = (WIDTH - 2 * MARGIN - (COLUMNS - 1) * GAP) / COLUMNS;
/** Where bars begin in a panel, after their names, and how long the longest is; figures stand behind. */
const BAR_LEFT = 206;
const BAR_MAX = PANEL - BAR_LEFT - 90;
const ROW = 22;
const BAR = 14;
const HEAD = 78;
const PANEL_HEAD = 26;
const PANEL_FOOT = 20;
const FOOT = 24;

const STYLE = `
.back { fill: #fbfaf8; stroke: #e4e1dc; } .title { fill: #1f2328; font-size: 16px; font-weight: 650; }
.panel { fill: #1f2328; font-size: 13px; font-weight: 600; } .name, .value { fill: #1f2328; } .dim { fill: #6a717b; }
.ours { fill: #3f7fdb; } .reference { fill: #8d939b; } .other { fill: #cdc8c0; } .own { fill: #2c67bd; font-weight: 600; }
text { font: 12px system-ui, sans-serif; }
@media (prefers-color-scheme: dark) {
  .back { fill: #15181c; stroke: #2e343b; } .title, .panel, .name, .value { fill: #e4e7eb; } .dim { fill: #949ca6; }
  .ours { fill: #5c97f0; } .reference { fill: #8a929c; } .other { fill: #4c545e; } .own { fill: #8db7f7; } }
`;

const ENTITIES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' };
const escapeXml = (text) => text.replace(/[&<>"]/g, (character) => ENTITIES[character]);
const at = (value) => String(Math.round(value * 10) / 10);
const text = (x, y, name, content) => `<text x="${at(x)}" y="${at(y)}" class="${name}">${content}</text>`;

/**
 * Draws comparisons, each as a panel with a bar for every row, as long as its first figure is large.
 * @param {object} picture
 * @param {string} picture.title
 * @param {string} picture.about what a bar means
 * @param {string} picture.foot where and when it was measured
 * @param {import('./comparison.mjs').Comparison[]} picture.comparisons
 * @returns {string} an SVG document
 */
export function drawComparisons({ title, about, foot, comparisons }) {
  const parts = [];
  let y = HEAD;
  for (let first = 0; first < comparisons.length; first += COLUMNS) {
    const line = comparisons.slice(first, first + COLUMNS).map(rowsOf);
    for (const [i, panel] of line.entries()) parts.push(drawPanel(panel, MARGIN + i * (PANEL + GAP), y));
    y += PANEL_HEAD + Math.max(...line.map(({ rows }) => rows.length)) * ROW + PANEL_FOOT;
  }
  const height = y + FOOT;
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" role="img">
<title>${escapeXml(title)}</title>
<style>${STYLE}</style>
<rect class="back" x="0.5" y="0.5" width="${WIDTH - 1}" height="${height - 1}" rx="10"/>
${text(MARGIN, 28, 'title', escapeXml(title))}
${text(MARGIN, 46, 'dim', escapeXml(about))}
${parts.join('\n')}
${text(MARGIN, height - 14, 'dim', escapeXml(foot))}
</svg>
`;
}

/** What is drawn of a comparison: the rows that have its first figure. */
function rowsOf({ title, reference, rows }) {
  const key = Object.keys(rows[0]?.figures ?? {})[0];
  return { title, reference, key, rows: rows.filter(({ figures }) => figures[key] !== undefined) };
}

function drawPanel({ title, reference, key, rows }, x, y) {
  const longest = Math.max(...rows.map(({ figures }) => figures[key]));
  const bars = rows.map(({ name, ours, figures, ratios }, i) => {
    const kind = ours ? 'ours' : name === reference ? 'reference' : 'other';
    const top = y + PANEL_HEAD + i * ROW - (PANEL_HEAD - ROW) - BAR / 2;
    const width = longest > 0 ? (figures[key] / longest) * BAR_MAX : 0;
    const { unit, text: write } = FIGURES[key];
    const ratio = ratios[key] === undefined || name === reference ? '' : ratioText(ratios[key]);
    const value = `${escapeXml(`${write(figures[key])} ${unit}`.trimEnd())}${ratio && ` <tspan class="dim" dx="4">${ratio}</tspan>`}`;
    return [
      text(x, top + BAR - 3, ours ? 'name own' : 'name', escapeXml(name)),
      `<rect class="${kind}" x="${at(x + BAR_LEFT)}" y="${at(top)}" width="${at(Math.max(width, 1))}" height="${BAR}" rx="2"/>`,
      text(x + BAR_LEFT + width + 6, top + BAR - 3, 'value', value),
    ].join('\n');
  });
  return `<g>\n${text(x, y, 'panel', escapeXml(title))}\n${bars.join('\n')}\n</g>`;
}
