import { RafterError } from '../errors.js';
import { MAX_TOUCHES, type Touch, type Trace } from './trace.js';

/**
 * One trace of several of one image: the union of what they touched. Its order is that of first use over all runs:
 *
 * - A run's own clock is the bytes that it had touched before: times depend on the wire, and a run on a slow one would come late.
 * - A range that a run did not touch counts there as touched at the very end, behind the bytes of the longest run.
 * - Ranges are ordered by the sum of these positions over all runs: what several runs touched early goes first, what one of
 *   them touched late or alone comes later. Equal sums: by blob, then offset. So the order of `traces` does not matter.
 *
 * A range keeps the earliest time of any run, and what that run waited. Members of the header that differ are left out; driver,
 * reference and manifest are those of the first. Throws USAGE for traces of different images, saying what differs; LIMIT_EXCEEDED
 * for a result of more than `MAX_TOUCHES`.
 */
export function mergeTraces(traces: readonly Trace[]): Trace {
  const [first] = traces;
  if (first === undefined) throw new RafterError('USAGE', 'there is no trace to merge');
  for (const other of traces) checkSameImage(first, other);
  const { reference, manifest, blobs, driver } = first;
  const lost = traces.reduce((sum, trace) => sum + (trace.lost ?? 0), 0);
  return {
    reference,
    manifest,
    blobs,
    driver,
    ...shared(traces, 'transport'),
    ...shared(traces, 'readAheadKiB'),
    ...shared(traces, 'command'),
    startedAt: traces.map(({ startedAt }) => startedAt).sort()[0]!,
    ...(lost > 0 && { lost }),
    touches: mergeTouches(traces.map(({ touches }) => touches)),
  };
}

/** Blobs count, not manifests: an image that was optimized has another manifest and the same blobs. */
function checkSameImage(first: Trace, other: Trace): void {
  const differ = (what: string) => {
    throw new RafterError('USAGE', `the traces are of different images: ${what}`, {
      hint: `one is of ${first.reference}, the other of ${other.reference}`,
    });
  };
  const [one, two] = [first.blobs, other.blobs];
  if (one.length !== two.length) differ(`one has ${one.length} blobs, the other ${two.length}`);
  const at = one.findIndex((id, index) => id !== two[index]);
  if (at >= 0) differ(`blob ${at} is ${one[at]} in one and ${two[at]} in the other`);
}

/** The member `key` if all traces agree in it. */
function shared<K extends 'transport' | 'readAheadKiB' | 'command'>(traces: readonly Trace[], key: K) {
  const values = new Set(traces.map((trace) => JSON.stringify(trace[key])));
  const value = traces[0]?.[key];
  return values.size === 1 && value !== undefined ? ({ [key]: value } as Pick<Trace, K>) : {};
}

/** A range between two neighbouring borders of any touch. */
interface Cell {
  offset: number;
  length: number;
  /** Sum of the positions in the runs that touched it, and how many those are. */
  position: number;
  runs: number;
  /** The earliest touch. */
  touch: Touch;
}

function mergeTouches(runs: readonly (readonly Touch[])[]): Touch[] {
  const borders = bordersOf(runs);
  const cells = borders.map((): (Cell | undefined)[] => []);
  const totals: number[] = [];
  for (const touches of runs) {
    let position = 0;
    for (const touch of touches) {
      addTouch(cells[touch.blob]!, borders[touch.blob]!, { touch, position });
      position += touch.length;
    }
    totals.push(position);
  }
  const end = Math.max(0, ...totals);
  const found = cells.flatMap((row) => row.filter((cell) => cell !== undefined));
  if (found.length > MAX_TOUCHES)
    throw new RafterError('LIMIT_EXCEEDED', `the merged trace would have more than ${MAX_TOUCHES} touches`);
  const key = ({ position, runs: touched }: Cell) => position + (runs.length - touched) * end;
  found.sort((a, b) => key(a) - key(b) || a.touch.blob - b.touch.blob || a.offset - b.offset);
  return found.map(({ offset, length, touch }) => ({ ...touch, offset, length }));
}

/** The offsets where touches begin or end, ascending, for each blob. */
function bordersOf(runs: readonly (readonly Touch[])[]): number[][] {
  const borders: Set<number>[] = [];
  for (const touches of runs)
    for (const { blob, offset, length } of touches) {
      borders[blob] ??= new Set();
      borders[blob].add(offset).add(offset + length);
    }
  return Array.from(borders, (offsets = new Set()) => [...offsets].sort((a, b) => a - b));
}

/** Notes `touch`, which one run came to after `position` other bytes, in the cells that it covers. */
function addTouch(
  cells: (Cell | undefined)[],
  borders: readonly number[],
  { touch, position }: { touch: Touch; position: number },
): void {
  const end = touch.offset + touch.length;
  for (let i = indexOf(borders, touch.offset); borders[i]! < end; i++) {
    const offset = borders[i]!;
    const cell = cells[i];
    if (cell === undefined) {
      cells[i] = { offset, length: borders[i + 1]! - offset, position, runs: 1, touch };
    } else {
      cell.position += position;
      cell.runs++;
      if (isEarlier(touch, cell.touch)) cell.touch = touch;
    }
  }
}

/** Of two runs that touched a range at the same time, the one that waited longer says more. */
function isEarlier(one: Touch, other: Touch): boolean {
  if (one.atMs !== other.atMs) return one.atMs < other.atMs;
  if (one.waitedMs !== other.waitedMs) return one.waitedMs > other.waitedMs;
  return one.from < other.from;
}

/** Where `value`, which is in `sorted`, stands. */
function indexOf(sorted: readonly number[], value: number): number {
  let [low, high] = [0, sorted.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (sorted[middle]! < value) low = middle + 1;
    else high = middle;
  }
  return low;
}
