import { formatBytes, formatDuration } from './format.js';

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
const BAR_WIDTH = 24;

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
  let drawnLines = 0;
  let timer: NodeJS.Timeout | undefined;
  const erase = () => {
    if (drawnLines > 0) stream.write(`\x1b[${drawnLines}A\x1b[J`);
    drawnLines = 0;
  };
  const draw = () => {
    timer = undefined;
    erase();
    const width = stream.columns ?? 80;
    // What stands above the screen cannot be erased any more.
    const most = Math.max(1, (stream.rows ?? 24) - 1);
    const lines = [...steps].slice(-most).map(([label, step]) => bar(label, step).slice(0, width - 1));
    if (lines.length > 0) stream.write(`${lines.join('\n')}\n`);
    drawnLines = lines.length;
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

function bar(label: string, { done, total, startedAt }: Step): string {
  const seconds = (performance.now() - startedAt) / 1000;
  const rate = seconds > 0 ? done / seconds : 0;
  const speed = `${formatBytes(rate)}/s`;
  if (total === undefined || total === 0) return `${label}  ${formatBytes(done)}  ${speed}`;
  const share = Math.min(1, done / total);
  const filled = Math.round(share * BAR_WIDTH);
  const left = rate > 0 ? formatDuration(((total - done) / rate) * 1000) : '?';
  const drawing = `${'#'.repeat(filled)}${'-'.repeat(BAR_WIDTH - filled)}`;
  return `${label}  [${drawing}] ${formatBytes(done)} of ${formatBytes(total)}  ${speed}  ${left} left`;
}
