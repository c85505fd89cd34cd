import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { isRafterError, type RafterError } from '../../src/errors.js';
import { type Random, random } from './mutate.js';

/** Seconds that each fuzz test runs: `RAFTER_FUZZ_SECONDS`, or a moment. */
const SHORT_SECONDS = 0.5;
const SECONDS = Number(process.env.RAFTER_FUZZ_SECONDS ?? SHORT_SECONDS);
/** Cases that are run however slow the machine is. */
const LEAST_CASES = 64;
/** Seconds of a test's own rounds, about. */
const ROUNDS_SECONDS = 1.5;
/**
 * `RAFTER_FUZZ_SEED` is a seed, or `SEED:CASE` as failures give it, to run that one case. Short runs always use the same seed,
 * long ones a new one.
 */
const [SEED, ONLY] = (process.env.RAFTER_FUZZ_SEED ?? defaultSeed()).split(':').map(Number);
/** Most CPU time of one case, in seconds, and most time until it has ended. */
const MAX_CPU = 2;
const MAX_WAIT = 30;
/** Most that the heap, buffers included, may have grown by when a case has ended. */
const MAX_GROWTH = 256 << 20;
const MAX_MESSAGE = 2000;

function defaultSeed(): string {
  return process.env.RAFTER_FUZZ_SECONDS === undefined ? '1' : String(Date.now() % 0x7fffffff);
}

/** Rounds of a test that does `short` of them in a moment: as many times more as it is to run longer. */
export function fuzzRounds(short: number): number {
  return Math.ceil(short * Math.max(1, SECONDS / ROUNDS_SECONDS));
}

/** A seed for each of `fuzzRounds(short)`. */
export function* fuzzSeeds(short: number): Generator<number> {
  for (let i = 0; i < fuzzRounds(short); i++) yield SEED! + i;
}

interface Fuzzed {
  /** The name that the parser is given, or how it is shown; every error's message has it. */
  name: string | RegExp;
  /** Makes a damaged input and reads it: returns, or throws the parser's error. */
  run: (next: Random) => unknown;
  /** Set for a parser that takes everything. */
  refusesNothing?: boolean;
}

/**
 * A test that runs damaged inputs until its time is over. Each has to end in a result or in a RafterError that names what
 * was read in one printable line, soon, and without taking much memory.
 */
export function fuzz(title: string, { name, run, refusesNothing = false }: Fuzzed): void {
  test(title, { timeout: SECONDS * 1000 + 120_000 }, async () => {
    const count = { read: 0, refused: 0 };
    let stray: unknown;
    const onStray = (reason: unknown) => {
      stray = reason ?? new Error('rejected with nothing');
    };
    process.on('unhandledRejection', onStray);
    try {
      const end = performance.now() + SECONDS * 1000;
      const goesOn = (number: number) => performance.now() < end || number <= LEAST_CASES;
      for (let number = ONLY ?? 1; number === ONLY || goesOn(number); number++) {
        const next = random(Math.imul(SEED!, 0x9e3779b1) ^ Math.imul(number, 0x85ebca6b));
        for (let i = 0; i < 4; i++) next(2);
        try {
          const error = await measured(() => run(next));
          if (error) checkError(error, name);
          count[error ? 'refused' : 'read']++;
          if (number % 64 === 0) await setImmediate();
          if (stray !== undefined) throw stray;
        } catch (cause) {
          const seed = `${SEED}:${number}`;
          throw new Error(`RAFTER_FUZZ_SEED=${seed} (case ${number}): ${String(cause)}`, { cause });
        }
        if (ONLY !== undefined) return;
      }
    } finally {
      process.off('unhandledRejection', onStray);
    }
    expect(count.read).toBeGreaterThan(0);
    if (refusesNothing) expect(count.refused).toBe(0);
    else expect(count.refused).toBeGreaterThan(0);
  });
}

/** The RafterError that `run` ended in, undefined if it ended well. Throws every other error, and when a limit is broken. */
async function measured(run: () => unknown): Promise<RafterError | undefined> {
  const cpu = process.cpuUsage();
  const before = process.memoryUsage();
  const error = await ended(run);
  const { user, system } = process.cpuUsage(cpu);
  const after = process.memoryUsage();
  const seconds = (user + system) / 1e6;
  if (seconds > MAX_CPU) throw new Error(`it took ${seconds} s of CPU time`);
  const growth = after.heapUsed - before.heapUsed + after.external - before.external;
  if (growth > MAX_GROWTH) throw new Error(`memory grew by ${growth} bytes`);
  if (error !== undefined && !isRafterError(error)) throw error;
  return error;
}

/** What `run` threw; undefined if it returned. */
async function ended(run: () => unknown): Promise<unknown> {
  let timer: NodeJS.Timeout | undefined;
  try {
    const result = run();
    if (!(result instanceof Promise)) return undefined;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new Error(`it did not end in ${MAX_WAIT} s`)), MAX_WAIT * 1000);
    });
    await Promise.race([result, late]);
    return undefined;
  } catch (error) {
    return error ?? new Error('it threw nothing');
  } finally {
    clearTimeout(timer);
  }
}

function checkError({ code, message }: RafterError, name: string | RegExp): void {
  expect(code).toMatch(/^[A-Z_]+$/);
  expect(message).toMatch(name);
  expect(message.length).toBeLessThanOrEqual(MAX_MESSAGE);
  const control = [...message].filter((character) => character < ' ');
  expect(control, 'control characters in the message').toEqual([]);
}
