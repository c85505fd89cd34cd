/** A pseudo-random whole number in [0, below); 0 if `below` is not above 1. */
export type Random = (below: number) => number;

/** A generator that gives the same numbers for the same seed. */
export function random(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9) >>> 0;
    return below > 1 ? ((state ^ (state >>> 13)) >>> 0) % below : 0;
  };
}

const INTERESTING_BYTES = [0, 1, 0x7f, 0x80, 0xff];
/** Where sizes, signs and limits turn over, binary and as text. */
const INTERESTING_NUMBERS = [0n, 1n, 0x7fffn, 0xffffn, 0x7fffffffn, 0xffffffffn, 1n << 53n, (1n << 64n) - 1n];
const INTERESTING_TEXTS = [
  '',
  '0',
  '-1',
  '00000000000',
  '77777777777',
  '99999999',
  '9007199254740993',
  '1e999',
  '/../',
  '.wh.',
  '\n',
  '\0',
  '"',
  '\\',
  '{',
  '\x1b[31m',
  '\u2028',
  '\ufffd',
  'a'.repeat(300),
];

/** One of `items`. */
export function pick<T>(items: readonly T[], next: Random): T {
  return items[next(items.length)]!;
}

/** Offsets of bytes that are not zero, and of their neighbours: headers and structures rather than padding. */
export function placesOf(bytes: Buffer): number[] {
  const places: number[] = [];
  for (let i = 0; i < bytes.length; i++) {
    if (bytes[i] !== 0 || (i > 0 && bytes[i - 1] !== 0)) places.push(i);
  }
  return places;
}

/** A copy of the same length with one to four runs of 1 to 8 bytes at `places` overwritten, or one time in twenty cut. */
export function overwrite(bytes: Buffer, places: number[], next: Random): Buffer {
  const copy = Buffer.from(bytes);
  for (let i = 1 + next(4); i > 0; i--) {
    const at = pick(places, next);
    const size = pick([1, 2, 4, 8], next);
    const value = next(2) === 0 ? pick(INTERESTING_BYTES, next) : next(256);
    copy.fill(value, at, Math.min(at + size, copy.length));
  }
  return next(20) === 0 ? copy.subarray(0, next(copy.length)) : copy;
}

/**
 * A copy with one to four changes at `places` (offsets in `bytes`): bits flipped, bytes, numbers and texts set, runs
 * inserted, removed, doubled or swapped, the end cut off. Runs are up to 64 bytes or up to four of `unit`.
 */
export function mutate(bytes: Buffer, next: Random, { places = placesOf(bytes), unit = 1 } = {}): Buffer {
  let result: Buffer = Buffer.from(bytes);
  for (let i = 1 + next(4); i > 0; i--) {
    const at = Math.min(places.length > 0 ? pick(places, next) : 0, result.length);
    result = changeAt(result, at, unit, next);
  }
  return result;
}

function changeAt(bytes: Buffer, at: number, unit: number, next: Random): Buffer {
  const inUnits = next(2) === 0;
  const start = inUnits ? at - (at % unit) : at;
  const length = inUnits ? unit * (1 + next(4)) : 1 + next(64);
  const run = bytes.subarray(start, start + length);
  const rest = bytes.subarray(start + run.length);
  switch (next(16)) {
    case 0:
      return Buffer.concat([bytes.subarray(0, start), randomRun(length, next), bytes.subarray(start)]);
    case 1:
      return Buffer.concat([bytes.subarray(0, start), rest]);
    case 2:
      return Buffer.concat([bytes.subarray(0, start), run, run, rest]);
    case 3:
      return swapRuns(bytes, start, length, next);
    case 4:
      return next(4) === 0 ? bytes.subarray(0, at) : bytes;
    case 5:
    case 6:
    case 7:
      return put(bytes, at, Buffer.from(pick(INTERESTING_TEXTS, next)));
    case 8:
    case 9:
      return put(bytes, at, interestingNumber(next));
    case 10:
    case 11:
      return put(bytes, at, Buffer.from([pick(INTERESTING_BYTES, next)]));
    case 12:
      return put(bytes, at, Buffer.from([next(256)]));
    default:
      return put(bytes, at, Buffer.from([(bytes[at] ?? 0) ^ (1 << next(8))]));
  }
}

function randomRun(length: number, next: Random): Buffer {
  return Buffer.from(Array.from({ length: Math.min(length, 64) }, () => next(256)));
}

function interestingNumber(next: Random): Buffer {
  const word = Buffer.alloc(8);
  const value = pick(INTERESTING_NUMBERS, next);
  if (next(2) === 0) word.writeBigUInt64LE(value);
  else word.writeBigUInt64BE(value);
  return word.subarray(0, pick([2, 4, 8], next));
}

/** A copy with `run` over what is at `at`; as long as before. */
function put(bytes: Buffer, at: number, run: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  run.copy(copy, at);
  return copy;
}

function swapRuns(bytes: Buffer, at: number, length: number, next: Random): Buffer {
  const other = next(bytes.length);
  const [first, second] = at < other ? [at, other] : [other, at];
  const size = Math.min(length, second - first, bytes.length - second);
  return Buffer.concat([
    bytes.subarray(0, first),
    bytes.subarray(second, second + size),
    bytes.subarray(first + size, second),
    bytes.subarray(first, first + size),
    bytes.subarray(second + size),
  ]);
}

const INTERESTING_VALUES: unknown[] = [
  null,
  true,
  0,
  -1,
  1.5,
  2 ** 53,
  1e300,
  '',
  'x',
  '\x1b]0;title\x07\n',
  'y'.repeat(20_000),
  `sha256:${'0'.repeat(64)}`,
  [],
  {},
  [[]],
  [null],
  { a: null },
];

/** A copy of JSON data in which one value, anywhere, is another one, is gone, or stands under another name. */
export function mutateJson(value: unknown, next: Random): unknown {
  if (typeof value !== 'object' || value === null || next(6) === 0) return pick(INTERESTING_VALUES, next);
  if (Array.isArray(value)) {
    if (value.length === 0) return [pick(INTERESTING_VALUES, next)];
    const at = next(value.length);
    if (next(6) === 0) return value.toSpliced(at, 1);
    if (next(6) === 0) return [...value, ...value];
    return value.with(at, mutateJson(value[at], next)) as unknown;
  }
  const keys = Object.keys(value);
  const key = pick(keys, next);
  const entries = Object.entries(value).flatMap(([name, member]): [string, unknown][] => {
    if (name !== key) return [[name, member]];
    if (next(6) === 0) return [];
    if (next(8) === 0) return [[pick(['__proto__', '\x1b\n', 'constructor', ''], next), member]];
    return [[name, mutateJson(member, next)]];
  });
  return Object.fromEntries(entries);
}
