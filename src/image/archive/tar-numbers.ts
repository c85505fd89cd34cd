import { RafterError } from '../../errors.js';

/**
 * Reads a number field of a tar header: octal digits with blanks or NULs around them, or, with the first bit set, GNU's
 * base-256 form, big-endian in two's complement. An empty field is 0. MALFORMED, naming `what`, for anything else and
 * for numbers beyond 2^53.
 */
export function parseTarNumber(field: Buffer, what: string): number {
  if (field[0]! & 0x80) return parseBase256(field, what);
  let at = 0;
  while (field[at] === SPACE || field[at] === 0) at++;
  let value = 0;
  for (let digit = field[at]! - ZERO; digit >= 0 && digit <= 7; digit = field[++at]! - ZERO) {
    value = value * 8 + digit;
  }
  while (field[at] === SPACE) at++;
  // What stands behind a NUL does not count.
  if (at < field.length && field[at] !== 0) {
    const text = JSON.stringify(field.toString('latin1'));
    throw new RafterError('MALFORMED', `${what}: ${text} is not an octal number`);
  }
  return value;
}

const SPACE = 0x20;
const ZERO = 0x30;

/** The first bit only marks the form, the second is the sign. */
function parseBase256(field: Buffer, what: string): number {
  const bits = BigInt(field.length * 8 - 1);
  const unsigned = BigInt(`0x${field.toString('hex')}`) & ((1n << bits) - 1n);
  const value = field[0]! & 0x40 ? unsigned - (1n << bits) : unsigned;
  const number = Number(value);
  if (!Number.isSafeInteger(number)) {
    throw new RafterError('MALFORMED', `${what}: the number ${value} is too large`);
  }
  return number;
}

/** Reads a decimal number of a PAX record. MALFORMED, naming `what`, unless it is a whole number from 0 to 2^53 - 1. */
export function parsePaxNumber(value: Buffer, what: string): number {
  const text = value.toString('latin1');
  const number = Number(text);
  if (!/^\d+$/.test(text) || !Number.isSafeInteger(number)) {
    throw new RafterError('MALFORMED', `${what}: ${JSON.stringify(text.slice(0, 40))} is not a number`);
  }
  return number;
}

/**
 * Reads a time of a PAX record: seconds since 1970 with an optional sign and fraction. The result's nanoseconds are 0 to
 * 999999999 also before 1970 (`-1.25` is -2 s + 750000000 ns); digits beyond the ninth are dropped.
 */
export function parsePaxTime(value: Buffer, what: string): { sec: number; nsec: number } {
  const text = value.toString('latin1');
  const match = /^(-?)(\d{1,15})(?:\.(\d*))?$/.exec(text);
  if (!match)
    throw new RafterError('MALFORMED', `${what}: ${JSON.stringify(text.slice(0, 40))} is not a time`);
  const [, sign, whole, fraction = ''] = match;
  const sec = Number(whole);
  const nsec = Number(fraction.slice(0, 9).padEnd(9, '0'));
  if (sign === '') return { sec, nsec };
  return nsec === 0 ? { sec: 0 - sec, nsec: 0 } : { sec: -sec - 1, nsec: 1e9 - nsec };
}
