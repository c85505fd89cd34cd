import type { Command } from 'commander';
import { RafterError } from '../../errors.js';
import { addCommonOptions, addRegistryOptions, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { IMAGE_FORMS, NYDUS_IMAGE_FORMS } from '../image-forms.js';
import { attachTo, optimizeTo, readTraces } from '../optimize-image.js';
import { repeatable } from '../repeatable.js';
import type { TwoSidedOptions } from '../side-options.js';

interface OptimizeCliOptions extends TwoSidedOptions {
  trace: string[];
  attach: boolean;
  platform?: string;
}

/** `rafter optimize IMAGE TARGET --trace FILE...` and `rafter optimize --attach IMAGE --trace FILE...` */
export function defineOptimize(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('optimize')
    .description('make a converted image start from one stream of what its starts were seen to read')
    .argument('<image>', NYDUS_IMAGE_FORMS)
    .argument('[target]', IMAGE_FORMS)
    .requiredOption(
      '--trace <file>',
      'what a run of the image has read; may be repeated: they are merged',
      repeatable,
    )
    .option(
      '--attach',
      'write no TARGET: attach to IMAGE, which stays as it is, which of its data to fetch first',
      false,
    )
    .option('--platform <os/arch>', 'which image of an index was traced (default: this machine)')
    .option('--src-creds <user:password>', 'credentials for the registry of IMAGE')
    .option('--dest-creds <user:password>', 'credentials for the registry of TARGET')
    .addHelpText(
      'after',
      `
TARGET gets the image with one more blob, the start-up pack, which a mount asks for first. It may be IMAGE itself. Everything
else is as before, so other programs mount it as they did.

With --attach the registry of IMAGE keeps a profile beside it, as an artifact that refers to it, and a mount of IMAGE fetches what
that names before anything else that nobody waits for. It is a hint: no data comes from it. Of several the latest counts.

Examples:
  rafter run --trace start.trace registry.example.com/python:3.12-nydus -- python3 -c 'import numpy'
  rafter optimize registry.example.com/python:3.12-nydus registry.example.com/python:3.12-fast --trace start.trace
  rafter optimize --attach registry.example.com/python:3.12-nydus --trace start.trace`,
    );
  addRegistryOptions(addCommonOptions(command)).action(
    async (image: string, target: string | undefined, options: OptimizeCliOptions) =>
      setExitCode(
        await withContext(command, async (context) => {
          if (options.attach && target !== undefined)
            throw new RafterError('USAGE', '--attach writes no image: give TARGET or --attach');
          if (!options.attach && target === undefined)
            throw new RafterError('USAGE', 'TARGET is missing, the image to write', {
              hint: 'or --attach, to leave IMAGE as it is',
            });
          const traces = await readTraces(options.trace);
          if (target === undefined) await attachTo(context, image, { traces, options });
          else await optimizeTo(context, { image, target }, { traces, options });
          return EXIT.ok;
        }),
      ),
  );
}
