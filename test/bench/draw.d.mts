import type { Comparison } from './comparison.mjs';

export function drawComparisons(picture: {
  title: string;
  about: string;
  foot: string;
  comparisons: Comparison[];
}): string;
