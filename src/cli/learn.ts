import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { RafterError } from '../errors.js';
import type { RunReferenceRequest } from '../run/run-reference.js';
import type { CommandContext } from './context.js';
import { EXIT } from './exit-codes.js';
import { optimizeTo, readTraces } from './optimize-image.js';
import { privateTemp } from './private-temp.js';
import type { TwoSidedOptions } from './side-options.js';
import { watchStart } from './start-watch.js';
import type { Until } from './until.js';

/**
 * What the kernel may read ahead while it is learned what a start reads, in KiB, and again when an image is started that was made so.
 * Measured with an application of Django and NumPy: with 4 the pack has 5.9 MB and the start takes 2890 requests, with 32 it has
 * 7.4 MB and 935, with the kernel's 128 639 requests for a quarter more data.
 */
const LEARN_READ_AHEAD_KIB = 32;

export interface LearnRequest {
  /** What is run. */
  run: RunReferenceRequest;
  /** The image that is written. */
  target: string;
  /** When the start is over; default: when the container has ended by itself. */
  until: Until | undefined;
  options: TwoSidedOptions & { platform?: string };
}

/**
 * Runs a container once, records what it reads until its start is over, ends it, and writes the image that starts from that. Returns the
 * exit code 0. FAILED, and nothing is written, if the container ended otherwise before.
 */
export async function learn(context: CommandContext, request: LearnRequest): Promise<number> {
  const { run, target, until, options } = request;
  const dir = await mkdtemp(join(privateTemp(context.options.dataRoot), 'learn-'));
  const watch = until && watchStart(until);
  try {
    const { runReference } = await import('../run/run-reference.js');
    const trace = run.trace ?? join(dir, 'trace');
    const exitCode = await runReference({
      ...run,
      trace,
      image: { readAheadKiB: LEARN_READ_AHEAD_KIB, ...run.image },
      signal: watch?.signal,
      onOutput: watch?.onOutput,
    });
    const isOver = watch === undefined ? exitCode === 0 : watch.signal.aborted;
    if (!isOver)
      throw new RafterError(
        'FAILED',
        `the container ended with exit code ${exitCode}${watch ? ' before its start was over' : ''}`,
        { hint: `${target} was not written: there is nothing to learn from this run` },
      );
    const image = run.image.reference;
    await optimizeTo(context, { image, target }, { traces: await readTraces([trace]), options });
    return EXIT.ok;
  } finally {
    watch?.stop();
    await rm(dir, { recursive: true, force: true });
  }
}
