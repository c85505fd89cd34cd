import { Command, CommanderError } from 'commander';
import { isRafterError } from '../errors.js';
import { defineCat } from './commands/cat.js';
import { defineCheck } from './commands/check.js';
import { defineConvert } from './commands/convert.js';
import { defineCopy } from './commands/copy.js';
import { defineDaemon } from './commands/daemon.js';
import { defineDiff } from './commands/diff.js';
import { defineDoctor } from './commands/doctor.js';
import { defineExport } from './commands/export.js';
import { defineInspect } from './commands/inspect.js';
import { defineLogin } from './commands/login.js';
import { defineLogout } from './commands/logout.js';
import { defineLs } from './commands/ls.js';
import { defineMount } from './commands/mount.js';
import { defineMounts } from './commands/mounts.js';
import { defineRun } from './commands/run.js';
import { defineUmount } from './commands/umount.js';
import { defineUnpack } from './commands/unpack.js';
import { EXIT, exitCodeOf } from './exit-codes.js';
import { createOutput } from './output.js';
import { packageVersion } from './version.js';

/**
 * Runs one command line (without node and script name) and returns its exit code. Command modules are loaded here, what
 * they work with is loaded by their bodies, so that `--help` and `--version` start at once.
 */
export async function runCommandLine(argv: string[]): Promise<number> {
  let exitCode: number = EXIT.ok;
  const program = createProgram((code) => {
    exitCode = code;
  });
  process.stdout.on('error', endOnClosedPipe);
  try {
    await program.parseAsync(argv, { from: 'user' });
    return exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.ok : EXIT.usage;
    createOutput({ json: argv.includes('--json'), quiet: false, debug: argv.includes('--debug') }).error(
      error,
    );
    return isRafterError(error) ? exitCodeOf(error.code) : EXIT.failed;
  }
}

/** `rafter ls | head` must end quietly when head has seen enough. */
function endOnClosedPipe(error: NodeJS.ErrnoException): void {
  if (error.code === 'EPIPE') process.exit(EXIT.ok);
  throw error;
}

function createProgram(setExitCode: (code: number) => void): Command {
  const program = new Command('rafter')
    .description('Containers start before they are downloaded.')
    .version(packageVersion(), '--version', 'print the version')
    .helpCommand(true)
    .enablePositionalOptions()
    .exitOverride()
    .configureHelp({ sortSubcommands: false, showGlobalOptions: false });
  const define = [
    defineConvert,
    defineCopy,
    defineExport,
    defineCheck,
    defineInspect,
    defineLs,
    defineCat,
    defineUnpack,
    defineDiff,
    defineMount,
    defineUmount,
    defineMounts,
    defineRun,
    defineDaemon,
    defineLogin,
    defineLogout,
    defineDoctor,
  ];
  for (const addTo of define) addTo(program, setExitCode);
  return program;
}
