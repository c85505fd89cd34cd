import { type Command, InvalidArgumentError, Option } from 'commander';
import type { MountRequest } from '../mount/api/api.js';
import { MAX_READ_TIMEOUT, MIN_READ_TIMEOUT } from '../mount/read-timeout.js';
import { addPeerOption, type PeerCliOptions, peerFor } from './peer-option.js';
import { parseByteSize } from './size.js';

/** Options of commands that mount: how the daemon gets the data. */
export interface ServingCliOptions extends PeerCliOptions {
  complete?: 'off' | 'after-ready' | 'always';
  completeRate?: number;
  readTimeout?: number;
  /** False for `--no-prefetch`. */
  prefetch: boolean;
}

/** Adds the options of `ServingCliOptions`. */
export function addServingOptions(command: Command): Command {
  return addPeerOption(
    command
      .addOption(
        new Option(
          '--complete <when>',
          'fetch in the background what nobody has read: never, when the start is over, or at once (default: off)',
        ).choices(['off', 'after-ready', 'always']),
      )
      .addOption(
        new Option(
          '--complete-rate <size>',
          'bytes a second that this may take, as in 5M (default: what is left)',
        ).argParser(parseRate),
      )
      .option(
        '--no-prefetch',
        'do not fetch ahead what the image, or a profile attached to it, lists as needed at its start',
      )
      .addOption(
        new Option(
          '--read-timeout <seconds>',
          'when a read whose data cannot be had ends with an error (default: 120)',
        ).argParser(parseTimeout),
      ),
  );
}

/** What the options ask of the daemon. */
export function servingRequest({
  complete,
  completeRate,
  readTimeout,
  prefetch,
}: ServingCliOptions): Pick<MountRequest, 'complete' | 'completeRate' | 'readTimeout' | 'prefetch'> {
  return {
    ...(complete !== undefined && { complete }),
    ...(completeRate !== undefined && { completeRate }),
    ...(readTimeout !== undefined && { readTimeout }),
    ...(!prefetch && { prefetch }),
  };
}

/** How the daemon reaches `image`: as `access` says, and through peers if that was asked for. */
export async function servingAccess(
  image: string,
  access: NonNullable<MountRequest['access']>,
  options: PeerCliOptions,
): Promise<NonNullable<MountRequest['access']>> {
  const p2p = await peerFor(image, options);
  return p2p === undefined ? access : { ...access, p2p };
}

function parseRate(text: string): number {
  const rate = parseByteSize(text);
  if (rate < 1) throw new InvalidArgumentError('It must be at least one byte a second.');
  return rate;
}

function parseTimeout(text: string): number {
  const seconds = Number(text);
  if (!(seconds >= MIN_READ_TIMEOUT && seconds <= MAX_READ_TIMEOUT))
    throw new InvalidArgumentError(`It must be from ${MIN_READ_TIMEOUT} to ${MAX_READ_TIMEOUT} seconds.`);
  return seconds;
}
