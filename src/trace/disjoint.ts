import { RafterError } from '../errors.js';
import type { Touch } from './trace.js';

/** Throws MALFORMED if two of `touches` share a byte; `nameOf` says where touch `index` stands. */
export function checkDisjoint(touches: readonly Touch[], nameOf: (index: number) => string): void {
  const order = Array.from(touches.keys()).sort((a, b) => {
    const [one, other] = [touches[a]!, touches[b]!];
    return one.blob - other.blob || one.offset - other.offset || a - b;
  });
  for (const [position, index] of order.entries()) {
    const touch = touches[index]!;
    const before = order[position - 1];
    if (before === undefined) continue;
    const { blob, offset, length } = touches[before]!;
    if (blob !== touch.blob || offset + length <= touch.offset) continue;
    throw new RafterError(
      'MALFORMED',
      `${nameOf(Math.max(index, before))}: touches blob ${blob} at ${Math.max(offset, touch.offset)}, which ` +
        `${nameOf(Math.min(index, before))} has touched already`,
    );
  }
}
