import { coordinate, timeText } from './markup.js';

/** Where times are in a drawing. */
export interface TimeAxis {
  /** Left and right border. */
  left: number;
  right: number;
  /** Milliseconds at the borders. */
  from: number;
  to: number;
  /** Where `ms` is. */
  x(ms: number): number;
}

/** Fewest and most milliseconds of an axis: one that spans nothing could not be drawn. */
const MIN_SPAN = 1;
/** About so many marks on an axis. */
const MARKS = 8;

/** An axis for times from `from` to `to`. */
export function timeAxis(
  { from, to }: { from: number; to: number },
  { left, right }: { left: number; right: number },
): TimeAxis {
  const span = Math.max(to - from, MIN_SPAN);
  return { left, right, from, to: from + span, x: (ms) => left + ((ms - from) / span) * (right - left) };
}

/** Vertical lines at round times after the beginning, with their times above. */
export function gridLines({ left, from, to, x }: TimeAxis, top: number, bottom: number): string {
  const step = roundStep((to - from) / MARKS);
  const lines: string[] = [];
  for (let i = 0; i * step <= to - from; i++) {
    const at = coordinate(x(from + i * step));
    lines.push(
      `<line class="grid" x1="${at}" x2="${at}" y1="${top}" y2="${bottom}"/>`,
      `<text class="axis" x="${at}" y="${top - 6}" text-anchor="${x(from + i * step) <= left ? 'start' : 'middle'}">${timeText(i * step)}</text>`,
    );
  }
  return lines.join('');
}

/** The next of 1, 2 and 5 times a power of ten. */
function roundStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * ([1, 2, 5].find((factor) => factor * power >= least) ?? 10);
}
