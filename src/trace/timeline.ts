import { bytesText, coordinate, escapeText, timeText } from './markup.js';
import type { FileUse, TraceSummary } from './summary.js';
import { gridLines, type TimeAxis, timeAxis } from './time-axis.js';
import { type Touch, type TouchSource, type Trace, touchedBytes } from './trace.js';

/** Units of the drawings; they are shown as wide as the page. */
const WIDTH = 1040;
const MARGIN = 8;
const TOP = 24;
const CURVE_HEIGHT = 150;
const LANE_HEIGHT = 7;
/** Waits at the same time, drawn above each other; more share the last lane. */
const MAX_LANES = 16;
const LABEL_WIDTH = 330;
const ROW_HEIGHT = 18;
/** Most characters of a file's name beside its row. */
const MAX_LABEL = 46;
/** Most files that get a row: the page must stay one that a browser opens. */
export const MAX_ROWS = 500;
/** From the bottom up. */
const STACK: readonly TouchSource[] = ['local', 'startup', 'fetch'];

/** First request and last answer. */
function timesOf({ touches }: Trace): { from: number; to: number } {
  const from = touches.reduce((least, { atMs }) => Math.min(least, atMs), touches[0]?.atMs ?? 0);
  return { from, to: touches.reduce((most, { atMs, waitedMs }) => Math.max(most, atMs + waitedMs), from) };
}

/** Bytes over time, by what was waited for; below them every wait. */
export function overview(trace: Trace): string {
  const axis = timeAxis(timesOf(trace), { left: MARGIN, right: WIDTH - MARGIN });
  const lanes = lanesOf(trace.touches);
  const bottom = TOP + CURVE_HEIGHT;
  const height = bottom + 14 + Math.max(lanes.length, 1) * LANE_HEIGHT + MARGIN;
  const waits = lanes.flatMap((lane, row) =>
    lane.map((touch) => bar(touch, axis, { y: bottom + 14 + row * LANE_HEIGHT, height: LANE_HEIGHT - 1 })),
  );
  return svg(height, 'Bytes over time, and what was waited for', [
    gridLines(axis, TOP, height - MARGIN),
    curves(trace, axis, bottom),
    `<line class="base" x1="${axis.left}" x2="${axis.right}" y1="${bottom}" y2="${bottom}"/>`,
    ...waits,
  ]);
}

/** A row for each file, in order of first use: when it was read, and how long that was waited for. */
export function waterfall(trace: Trace, { files }: TraceSummary): string {
  const axis = timeAxis(timesOf(trace), { left: LABEL_WIDTH, right: WIDTH - MARGIN });
  const rows = files.slice(0, MAX_ROWS);
  const height = TOP + rows.length * ROW_HEIGHT + MARGIN;
  return svg(height, 'What was read of each file, and when', [
    gridLines(axis, TOP, height - MARGIN),
    ...rows.map((file, index) => fileRow(file, axis, TOP + index * ROW_HEIGHT)),
  ]);
}

function fileRow({ path, bytes, waitedMs, touches }: FileUse, axis: TimeAxis, y: number): string {
  const name = path.toString();
  const label = name.length > MAX_LABEL ? `…${name.slice(1 - MAX_LABEL)}` : name;
  const told = `${name}: ${bytesText(bytes)}${waitedMs > 0 ? `, waited ${timeText(waitedMs)}` : ''}`;
  // Marks that would cover each other are drawn once.
  const marks = new Set(touches.map((touch) => bar(touch, axis, { y: y + 4, height: ROW_HEIGHT - 8 })));
  return (
    `<g><title>${escapeText(told)}</title>` +
    `<rect class="row" x="0" y="${y}" width="${WIDTH}" height="${ROW_HEIGHT}"/>` +
    `<text class="name" x="${LABEL_WIDTH - 10}" y="${y + 13}" text-anchor="end">${escapeText(label)}</text>` +
    `${[...marks].join('')}</g>`
  );
}

/** What was waited for is as long as the wait; everything else a mark. */
function bar(
  { atMs, waitedMs, from }: Touch,
  { x }: TimeAxis,
  { y, height }: { y: number; height: number },
): string {
  const left = x(atMs);
  const width = Math.max(x(atMs + waitedMs) - left, 2);
  return `<rect class="${from}" x="${coordinate(left)}" y="${y}" width="${coordinate(width)}" height="${height}" rx="1"/>`;
}

/** The touches that waited, in lanes without overlap as far as there are lanes. */
function lanesOf(touches: readonly Touch[]): Touch[][] {
  const lanes: { touches: Touch[]; end: number }[] = [];
  for (const touch of touches.filter(({ waitedMs }) => waitedMs > 0).sort((a, b) => a.atMs - b.atMs)) {
    let lane = lanes.find(({ end }) => end <= touch.atMs);
    if (lane === undefined && lanes.length < MAX_LANES) {
      lane = { touches: [], end: 0 };
      lanes.push(lane);
    }
    lane ??= lanes.at(-1)!;
    lane.touches.push(touch);
    lane.end = Math.max(lane.end, touch.atMs + touch.waitedMs);
  }
  return lanes.map((lane) => lane.touches);
}

/** The bytes that had been answered, one area per class, on top of each other. */
function curves(trace: Trace, { left, right, from, to }: TimeAxis, bottom: number): string {
  const columns = Math.floor(right - left) + 1;
  const total = Math.max(touchedBytes(trace), 1);
  const heights = new Float64Array(columns);
  const areas = STACK.map((source) => {
    const answered = new Float64Array(columns);
    for (const { atMs, waitedMs, length, from: by } of trace.touches) {
      const column = Math.round(((atMs + waitedMs - from) / (to - from)) * (columns - 1));
      if (by === source) answered[column]! += length;
    }
    const lower = heights.slice();
    let sum = 0;
    for (let column = 0; column < columns; column++) {
      sum += answered[column]!;
      heights[column]! += sum;
    }
    if (sum === 0) return '';
    const point = (column: number, value: number) =>
      `${coordinate(left + column)} ${coordinate(bottom - (value / total) * CURVE_HEIGHT)}`;
    const top = corners(heights).map((column) => point(column, heights[column]!));
    const base = corners(lower).map((column) => point(column, lower[column]!));
    return `<path class="${source}" d="M${[...top, ...base.reverse()].join('L')}Z"/>`;
  });
  return areas.join('');
}

/** Where a line through `values` turns, and its ends. */
function corners(values: Float64Array): number[] {
  const last = values.length - 1;
  const turns = (column: number) =>
    column === 0 ||
    column === last ||
    values[column] !== values[column - 1] ||
    values[column] !== values[column + 1];
  return Array.from(values.keys()).filter(turns);
}

function svg(height: number, label: string, parts: readonly string[]): string {
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${label}">${parts.join('')}</svg>`;
}
