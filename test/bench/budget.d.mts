/** A step of a start; steps may go on at the same time. */
export interface Step {
  name: string;
  /** Milliseconds from the start of the command. */
  atMs: number;
  /** How long it took, in milliseconds. */
  ms: number;
}

export function budgetOf(starts: Step[][]): Step[];
export function formatBudget(title: string, steps: Step[]): string;
