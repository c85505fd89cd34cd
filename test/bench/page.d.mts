import type { Comparison } from './comparison.mjs';

/** One run of a bench. */
export interface Run {
  bench: string;
  /** When it began, as ISO 8601. */
  date: string;
  /** With less of everything, to be over soon. */
  short: boolean;
  machine: { cpu: string; cores: number; memoryBytes: number; kernel: string; system: string };
  /** Of rafter, Node.js and the other programs. */
  versions: Record<string, string>;
  comparisons: Comparison[];
}

export function drawRuns(runs: Run[]): Record<string, string>;
export function numbersPage(runs: Run[]): string;
export function withNumbers(readme: string, runs: Run[]): string;
