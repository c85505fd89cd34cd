import { resolve } from 'node:path';
import { Command, CommanderError } from 'commander';
import { isRafterError, RafterError } from '../errors.js';
import { explainSystemError } from '../os/system-error.js';
import { insteadOfDockerOption } from './docker-options.js';
import { EXIT, exitCodeOf } from './exit-codes.js';
import { createOutput } from './output.js';
import { stdout } from './stdout.js';
import { packageVersion } from './version.js';

type Define = (program: Command, setExitCode: (code: number) => void) => void;

/** The commands in the order of the help, each with what loads its definition. */
const COMMANDS: Record<string, () => Promise<Define>> = {
  convert: async () => (await import('./commands/convert.js')).defineConvert,
  optimize: async () => (await import('./commands/optimize.js')).defineOptimize,
  copy: async () => (await import('./commands/copy.js')).defineCopy,
  delete: async () => (await import('./commands/delete.js')).defineDelete,
  export: async () => (await import('./commands/export.js')).defineExport,
  check: async () => (await import('./commands/check.js')).defineCheck,
  inspect: async () => (await import('./commands/inspect.js')).defineInspect,
  ls: async () => (await import('./commands/ls.js')).defineLs,
  cat: async () => (await import('./commands/cat.js')).defineCat,
  unpack: async () => (await import('./commands/unpack.js')).defineUnpack,
  diff: async () => (await import('./commands/diff.js')).defineDiff,
  mount: async () => (await import('./commands/mount.js')).defineMount,
  preheat: async () => (await import('./commands/preheat.js')).definePreheat,
  umount: async () => (await import('./commands/umount.js')).defineUmount,
  mounts: async () => (await import('./commands/mounts.js')).defineMounts,
  run: async () => (await import('./commands/run.js')).defineRun,
  trace: async () => (await import('./commands/trace.js')).defineTrace,
  daemon: async () => (await import('./commands/daemon.js')).defineDaemon,
  cache: async () => (await import('./commands/cache.js')).defineCache,
  login: async () => (await import('./commands/login.js')).defineLogin,
  logout: async () => (await import('./commands/logout.js')).defineLogout,
  doctor: async () => (await import('./commands/doctor.js')).defineDoctor,
  config: async () => (await import('./commands/config.js')).defineConfig,
  completion: async () => (await import('./commands/completion.js')).defineCompletion,
};

/**
 * Runs one command line (without node and script name) and returns its exit code. Of the commands only the one
 * that is named first is loaded, or all of them for the help; what they work with is loaded by their bodies.
 */
export async function runCommandLine(argv: string[]): Promise<number> {
  let exitCode: number = EXIT.ok;
  const setExitCode = (code: number) => {
    exitCode = code;
  };
  try {
    // Behind the name of a command it is not understood, and to look for it takes a while.
    const program = createProgram({ hasVersion: !isCommand(argv[0]) });
    for (const define of await definitionsFor(argv)) define(program, setExitCode);
    program.hook('preAction', configure);
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return EXIT.ok;
    if (error instanceof CommanderError && error.code === 'commander.help') return EXIT.usage;
    const shown = error instanceof CommanderError ? usageError(error, argv) : explainSystemError(error);
    createOutput({ json: argv.includes('--json'), quiet: false, debug: argv.includes('--debug') }).error(
      shown,
    );
    return isRafterError(shown) ? exitCodeOf(shown.code) : EXIT.failed;
  }
}

/** The whole command line with all commands, for what describes it. Its actions are not to be run. */
export async function describeProgram(): Promise<Command> {
  const program = createProgram({ hasVersion: true });
  for (const define of await definitionsFor([])) define(program, () => undefined);
  return program;
}

/** Options that nobody has given get what the configuration files say; a daemon that the command starts reads the same. */
async function configure(program: Command, command: Command): Promise<void> {
  const { config } = program.opts<{ config?: string }>();
  if (config !== undefined) process.env.RAFTER_CONFIG = resolve(config);
  const { loadConfigs } = await import('./config-file.js');
  const configs = await loadConfigs();
  if (configs.length === 0) return;
  const { applyConfig } = await import('./config.js');
  applyConfig(command, configs);
}

/** What commander has to say about a command line, in the form of all other errors. */
function usageError({ message }: CommanderError, argv: string[]): RafterError {
  const [, text = message, suggestion] =
    /^(?:error: )?(.*?)(?:\s*\(Did you mean (.*)\?\))?$/s.exec(message) ?? [];
  const meant = suggestion === undefined ? undefined : `did you mean ${suggestion}?`;
  const at = Math.max(0, argv.findIndex(isCommand));
  const instead = argv[at] === 'run' ? insteadOfDockerOption(text) : undefined;
  const hint = instead ?? meant ?? usageHint(text, argv.slice(0, at), argv.slice(at));
  return new RafterError('USAGE', text, { hint });
}

/** Commands that are made of commands. */
const GROUPS = new Set(['cache', 'config', 'daemon', 'trace']);

/** Which help to look at. Who puts an option of a command before it, as other programs want it, is told where it belongs. */
function usageHint(text: string, before: string[], [command = '', next = '']: string[]): string {
  if (before.some((option) => text === `unknown option '${option}'`))
    return `options stand behind the command: rafter ${command} ${before[0]}`;
  const isInGroup = GROUPS.has(command) && /^[a-z]/.test(next) && !text.startsWith('unknown command');
  const words = ['rafter', ...(isCommand(command) ? [command] : []), ...(isInGroup ? [next] : [])];
  return `${words.join(' ')} --help says what there is`;
}

function createProgram({ hasVersion }: { hasVersion: boolean }): Command {
  const program = new Command('rafter').description('Containers start before they are downloaded.');
  if (hasVersion) program.version(packageVersion(), '--version', 'print the version');
  return (
    program
      .option('--config <file>', 'configuration file, instead of those of the system and the user')
      .showSuggestionAfterError()
      .helpCommand(true)
      .enablePositionalOptions()
      .exitOverride()
      // Errors are printed where all others are.
      .configureOutput({ outputError: () => undefined, writeOut: (text) => stdout().write(text) })
      .configureHelp({ sortSubcommands: false, showGlobalOptions: false })
  );
}

function isCommand(name = ''): boolean {
  return Object.hasOwn(COMMANDS, name);
}

function definitionsFor([name = '']: string[]): Promise<Define[]> {
  const load = isCommand(name) ? COMMANDS[name] : undefined;
  return Promise.all(load === undefined ? Object.values(COMMANDS).map((one) => one()) : [load()]);
}
