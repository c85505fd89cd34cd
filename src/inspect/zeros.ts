/** Offset of the first byte of [from, to) that is not zero, undefined if all are. */
export function findNonZero(bytes: Buffer, from: number, to: number): number | undefined {
  for (let at = from; at < to; at++) if (bytes[at] !== 0) return at;
  return undefined;
}
