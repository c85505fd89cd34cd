import { RafterError } from '../errors.js';
import type { RunConfig } from '../image/config.js';
import type { RunOptions } from './options.js';

/**
 * The arguments of the container's process: Entrypoint then Cmd, each the user's or else the image's. An entry point
 * given by the user drops the image's Cmd, which was meant for the image's own. USAGE if nothing is left.
 */
export function resolveCommand(config: RunConfig, options: RunOptions): string[] {
  const command = options.command ?? [];
  const args =
    options.entrypoint === undefined
      ? [...(config.Entrypoint ?? []), ...(command.length > 0 ? command : (config.Cmd ?? []))]
      : [...(options.entrypoint === '' ? [] : [options.entrypoint]), ...command];
  if (args.length === 0)
    throw new RafterError('USAGE', 'no command to run: the image names none', {
      hint: 'give one behind --',
    });
  return args;
}
