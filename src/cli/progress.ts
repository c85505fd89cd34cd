import { formatBytes, formatDuration, formatSeconds } from './format.js';

/** Shows how far long steps are. Each step has a label; amounts are bytes. */
export interface Progress {
  /** Step `label` has done `done` bytes of `total` (undefined while unknown). */
  update(label: string, done: number, total?: number): void;
  /** Step `label` has ended. */
  finish(label: string, note?: string): void;
  /** Removes what stands on the terminal; nothing is shown any more. */
  close(): void;
}

interface Step {
  done: number;
  total: number | undefined;
  startedAt: number;
}

const REDRAW_MS = 100;
/** Characters of a bar: most, and least that is worth drawing. */
const BAR_WIDTH = 24;
const MIN_BAR_WIDTH = 8;

/** Bars that are redrawn on a terminal; elsewhere one plain line for each step that ended; nothing when quiet. */
export function createProgress(options: { quiet: boolean; stream?: NodeJS.WriteStream }): Progress {
  const stream = options.stream ?? process.stderr;
  if (options.quiet) return { update: () => {}, finish: () => {}, close: () => {} };
  return stream.isTTY ? terminalProgress(stream) : plainProgress(stream);
}

function plainProgress(stream: NodeJS.WriteStream): Progress {
  const steps = new Map<string, Step>();
  return {
    update: (label, done, total) => void note(steps, label, done, total),
    finish: (label, text) => {
      const step = steps.get(label);
      steps.delete(label);
      stream.write(`${label}: ${text ?? summary(step)}\n`);
    },
    close: () => steps.clear(),
  };
}

function terminalProgress(stream: NodeJS.WriteStream): Progress {
  const steps = new Map<string, Step>();
  let drawn: string[] = [];
  let timer: NodeJS.Timeout | undefined;
  const erase = () => {
    // A terminal that has become narrower shows what was drawn in more lines.
    const width = stream.columns ?? 80;
    const lines = drawn.reduce((sum, line) => sum + Math.max(1, Math.ceil(line.length / width)), 0);
    if (lines > 0) stream.write(`\x1b[${lines}A\x1b[J`);
    drawn = [];
  };
  const draw = () => {
    timer = undefined;
    erase();
    const width = stream.columns ?? 80;
    // What stands above the screen cannot be erased any more.
    const most = Math.max(1, (stream.rows ?? 24) - 1);
    drawn = [...steps].slice(-most).map(([label, step]) => bar(label, step, width - 1));
    if (drawn.length > 0) stream.write(`${drawn.join('\n')}\n`);
  };
  return {
    update: (label, done, total) => {
      note(steps, label, done, total);
      timer ??= setTimeout(draw, REDRAW_MS).unref();
    },
    finish: (label, text) => {
      const step = steps.get(label);
      steps.delete(label);
      erase();
      stream.write(`${label}: ${text ?? summary(step)}\n`);
      draw();
    },
    close: () => {
      clearTimeout(timer);
      erase();
      steps.clear();
    },
  };
}

function note(steps: Map<string, Step>, label: string, done: number, total: number | undefined): void {
  const step = steps.get(label) ?? { done: 0, total: undefined, startedAt: performance.now() };
  step.done = done;
  step.total = total ?? step.total;
  steps.set(label, step);
}

function summary(step: Step | undefined): string {
  if (step === undefined) return 'done';
  return `${formatBytes(step.done)} in ${formatDuration(performance.now() - step.startedAt)}`;
}

/** A step in at most `room` characters: a narrow terminal has a shorter bar, then none, then no rate, then less of the label. */
function bar(label: string, { done, total, startedAt }: Step, room: number): string {
  const seconds = (performance.now() - startedAt) / 1000;
  const rate = seconds > 0 ? done / seconds : 0;
  const speed = `${formatBytes(rate)}/s`;
  if (total === undefined || total === 0) return fitted(label, [`${formatBytes(done)}  ${speed}`], room);
  const share = Math.min(1, done / total);
  const left = timeLeft(total - done, rate);
  const amounts = `${formatBytes(done)} of ${formatBytes(total)}`;
  const words = `${amounts}  ${speed}  ${left}`;
  const width = Math.min(BAR_WIDTH, room - `${label}  [] ${words}`.length);
  if (width < MIN_BAR_WIDTH) return fitted(label, [words, `${amounts}  ${left}`], room);
  const filled = Math.round(share * width);
  return `${label}  [${'#'.repeat(filled)}${'-'.repeat(width - filled)}] ${words}`;
}

/** How long `bytes` will take at `rate` bytes a second, as exactly as a guess deserves. */
function timeLeft(bytes: number, rate: number): string {
  if (bytes <= 0) return 'finishing';
  if (rate === 0) return '? left';
  return `${formatSeconds(bytes / rate)} left`;
}

/** The label with the first of `texts` that has room beside it, or the end of the label with the last one. */
function fitted(label: string, texts: string[], room: number): string {
  const found = texts.find((text) => label.length + 2 + text.length <= room);
  if (found !== undefined) return `${label}  ${found}`;
  const text = texts.at(-1)!;
  const most = room - text.length - 2;
  return (most < 2 ? text : `…${label.slice(1 - most)}  ${text}`).slice(0, Math.max(1, room));
}
