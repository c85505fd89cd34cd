/** What several programs took to do the same. */
export interface Comparison {
  /** What was done, and under which conditions. */
  title: string;
  /** Name of the row that the others are compared to; without it nothing is compared. */
  reference?: string;
  rows: Row[];
}

export interface Row {
  name: string;
  /** It is rafter. */
  ours: boolean;
  /** By the names in FIGURES; the first one counts most. */
  figures: Record<string, number>;
  /** Figures as parts of the reference's. */
  ratios: Record<string, number>;
  /** What it consisted of, if that was looked at: the bench of starts. */
  steps?: import('./budget.mjs').Step[];
}

/** How a figure is written. */
export interface Figure {
  head: string;
  unit: string;
  text(value: number): string;
  /** It is a ratio of its own. */
  alone?: boolean;
}

export const FIGURES: Record<string, Figure>;
export function compare(measured: {
  title: string;
  reference?: string;
  rows: Omit<Row, 'ratios'>[];
}): Comparison;
export function ratioText(ratio: number): string;
export function cellsOf(comparison: Comparison): string[][];
export function formatComparison(comparison: Comparison): string;
export function printComparison(comparison: Comparison, how: { json: boolean }): void;
export function median(numbers: number[]): number;
