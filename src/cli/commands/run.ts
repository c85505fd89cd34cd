import { type Command, Option } from 'commander';
import { isRafterError, RafterError } from '../../errors.js';
import { explainSystemError } from '../../os/system-error.js';
import { EXIT_RUNTIME_FAILED } from '../../run/exit-codes.js';
import type { RunReferenceRequest } from '../../run/run-reference.js';
import {
  accessOptions,
  addCommonOptions,
  addRegistryOptions,
  type CommandContext,
  type RegistryCliOptions,
  withContext,
} from '../context.js';
import { daemonPlace } from '../daemon-place.js';
import { NYDUS_IMAGE_FORMS } from '../image-forms.js';
import { repeatable } from '../repeatable.js';
import {
  addServingOptions,
  type ServingCliOptions,
  servingAccess,
  servingRequest,
} from '../serving-options.js';
import { stdout } from '../stdout.js';
import { addTraceOptions, readAheadOf, type TraceCliOptions, traceFile } from '../trace-options.js';
import { parseUntil, type Until } from '../until.js';
import { sayWaiting } from '../waiting.js';

interface RunCliOptions extends RegistryCliOptions, ServingCliOptions, TraceCliOptions {
  env: string[];
  workdir?: string;
  user?: string;
  volume: string[];
  tty: boolean;
  interactive: boolean;
  net: 'host' | 'none';
  entrypoint?: string;
  readOnly: boolean;
  hostname?: string;
  securityOpt: string[];
  platform?: string;
  learn?: string;
  until?: Until;
  timing: boolean;
}

/** `rafter run IMAGE [-- CMD...]` */
export function defineRun(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('run')
    .description('run a container of a converted image at once; its data is fetched when it is read')
    .argument('<image>', NYDUS_IMAGE_FORMS)
    .argument('[command...]', 'instead of the command of the image; may stand behind --')
    .option('-e, --env <key[=value]>', 'set a variable, or pass it on from here', repeatable, [])
    .option('-w, --workdir <dir>', 'working directory in the container')
    .option('-u, --user <name[:group]>', 'user name or id, and group')
    .option(
      '-v, --volume <host:container[:ro]>',
      'show a path of this machine in the container',
      repeatable,
      [],
    )
    .option('-t, --tty', 'with a terminal', false)
    .option('-i, --interactive', 'pass standard input on', false)
    .addOption(new Option('--net <mode>', 'network').choices(['host', 'none']).default('host'))
    .option('--entrypoint <program>', 'instead of the entry point of the image')
    .option('--read-only', 'the root file system cannot be written', false)
    .option('--hostname <name>', 'host name in the container')
    .option(
      '--security-opt <option>',
      'seccomp=unconfined, seccomp=FILE or no-new-privileges, as for docker run',
      repeatable,
      [],
    )
    .option('--platform <os/arch>', 'which image of an index (default: this machine)')
    .option('--learn <target>', 'write TARGET: the image, made to start from what this run reads')
    .option('--until <when>', 'with --learn: end at a line with this text, at port:N or after 5s', parseUntil)
    .option('--timing', 'print at the end where the time went until the first line of the container', false)
    .passThroughOptions()
    .addHelpText(
      'after',
      `
The exit code is the container's; 125: rafter or runc failed, 126: the command cannot be executed, 127: it is not there.
Nothing is left behind but the cache.

Examples:
  rafter run registry.example.com/python:3.12-nydus -- python3 -c 'print("up")'
  rafter run -it -v "$PWD:/src:ro" registry.example.com/python:3.12-nydus bash
  rafter run --learn registry.example.com/web:fast --until port:8080 registry.example.com/web:nydus`,
    );
  addTraceOptions(command, 'at the end');
  addServingOptions(addRegistryOptions(addCommonOptions(command))).action(
    async (image: string, args: string[], options: RunCliOptions) =>
      setExitCode(
        await withContext(command, async (context) => {
          try {
            return await run(context, image, args, options);
          } catch (error) {
            if (isRafterError(error, 'INTERRUPTED')) throw error;
            context.output.error(explainSystemError(error));
            return EXIT_RUNTIME_FAILED;
          }
        }),
      ),
  );
}

async function run(
  context: CommandContext,
  image: string,
  args: string[],
  options: RunCliOptions,
): Promise<number> {
  const { env, workdir, user, volume, tty, interactive, net, entrypoint, readOnly, hostname } = options;
  const { learn: target, until } = options;
  const timing = options.timing ? (await import('../start-timing.js')).measureStart() : undefined;
  if (until && target === undefined) throw new RafterError('USAGE', '--until is for --learn');
  if (options.timing && target !== undefined)
    throw new RafterError('USAGE', '--timing is for a start as it is, not for --learn');
  if (until && 'text' in until && tty)
    throw new RafterError('USAGE', '--until TEXT looks at standard output, which is a terminal with -t');
  const request: RunReferenceRequest = {
    daemon: daemonPlace(context),
    image: {
      reference: image,
      ...(options.platform !== undefined && { platform: options.platform }),
      ...servingRequest(options),
      ...readAheadOf(options),
      access: await servingAccess(image, accessOptions(options), options),
    },
    ...(options.trace !== undefined && { trace: traceFile(options.trace) }),
    options: {
      command: args[0] === '--' ? args.slice(1) : args,
      env,
      workdir,
      user,
      volumes: volume,
      tty,
      interactive,
      network: net,
      entrypoint,
      readOnly,
      hostname,
      securityOptions: options.securityOpt,
    },
    ...(timing && { clock: timing.clock, onOutput: tty ? undefined : timing.onOutput }),
    onMounted: ({ warnings }) => {
      stopWaiting();
      for (const warning of warnings) context.output.warn(warning);
      context.releaseSignals();
    },
  };
  // What the container writes goes through this process.
  if (timing !== undefined || target !== undefined) stdout();
  const stopWaiting = sayWaiting(`mounting ${image}`, context.output);
  try {
    if (target === undefined) {
      const exitCode = await (await import('../../run/run-reference.js')).runReference(request);
      if (timing) process.stderr.write(`${timing.report(context.output)}\n`);
      return exitCode;
    }
    const { learn } = await import('../learn.js');
    return await learn(context, { run: request, target, until, options });
  } finally {
    stopWaiting();
  }
}
