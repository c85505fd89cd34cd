import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { type Command, Option } from 'commander';
import { RafterError } from '../errors.js';
import { endByInterrupt } from './interrupt.js';
import { createOutput, type Output } from './output.js';

/** The options that every command has. */
interface CommonOptions {
  dataRoot: string;
  runDir: string;
  json: boolean;
  quiet: boolean;
  debug: boolean;
}

/** The options of commands that talk to registries. */
export interface RegistryCliOptions {
  /** A list comes from the configuration file: registries that are spoken to without TLS. */
  plainHttp?: boolean | string[];
  ca?: string;
  cert?: string;
  key?: string;
  creds?: string;
}

/** What one run of a command has to work with. */
export interface CommandContext {
  options: CommonOptions;
  output: Output;
  /** Aborted by Ctrl-C and SIGTERM. */
  signal: AbortSignal;
  /**
   * From here on the body handles signals itself; until it ends, one that it does not handle is ignored, so that nothing
   * interrupts its cleaning up. Throws if one has come already.
   */
  releaseSignals(): void;
}

/** Adds the options that every command has. */
export function addCommonOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--data-root <dir>', 'where images, caches and containers are kept')
        .env('RAFTER_DATA_ROOT')
        .default('/var/lib/rafter'),
    )
    .addOption(
      new Option('--run-dir <dir>', 'where sockets and state of the running daemon are')
        .env('RAFTER_RUN_DIR')
        .default('/run/rafter'),
    )
    .option('--json', 'print results as JSON', false)
    .option('-q, --quiet', 'print results and errors only', false)
    .option('--debug', 'print the stack of an error', false);
}

/** Adds the options of commands that talk to registries. */
export function addRegistryOptions(command: Command): Command {
  return addTlsOptions(command).option(
    '--creds <user:password>',
    'credentials for the registry; seen by other users: better rafter login',
  );
}

/** Adds the options that say how a registry is connected to. */
export function addTlsOptions(command: Command): Command {
  return command
    .option('--plain-http', 'talk HTTP to the registry (loopback registries need no option)')
    .option('--ca <file>', 'PEM file of the CA that signed the registry certificate')
    .option('--cert <file>', 'PEM file of the client certificate')
    .option('--key <file>', 'PEM file of the key of the client certificate');
}

/** How to reach registries, from the command line. File names become absolute: the daemon has another directory. */
export function accessOptions(options: RegistryCliOptions): {
  plainHttp?: boolean | string[];
  caFile?: string;
  certFile?: string;
  keyFile?: string;
  credentials?: { username: string; password: string };
  dockerConfig: string;
  onWarning: (text: string) => void;
} {
  return {
    ...(options.plainHttp && { plainHttp: options.plainHttp }),
    ...(options.ca !== undefined && { caFile: resolve(options.ca) }),
    ...(options.cert !== undefined && { certFile: resolve(options.cert) }),
    ...(options.key !== undefined && { keyFile: resolve(options.key) }),
    ...(options.creds !== undefined && { credentials: parseCredentials(options.creds) }),
    dockerConfig: join(resolve(process.env.DOCKER_CONFIG || join(homedir(), '.docker')), 'config.json'),
    onWarning: warnOnce,
  };
}

const warned = new Set<string>();

/** A command may talk to a registry in several ways at once, and each hears the same. */
function warnOnce(text: string): void {
  if (warned.has(text)) return;
  warned.add(text);
  createOutput({ json: false, quiet: false, debug: false }).warn(text);
}

/** `user:password`; the password may hold colons. Throws USAGE without repeating what was given. */
export function parseCredentials(text: string): { username: string; password: string } {
  const colon = text.indexOf(':');
  if (colon < 1)
    throw new RafterError('USAGE', 'credentials must be given as user:password', {
      hint: 'or keep them with rafter login, so that they are on no command line',
    });
  return { username: text.slice(0, colon), password: text.slice(colon + 1) };
}

const INTERRUPTS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Runs the body of a command with its context and returns the exit code that the body chose. Ctrl-C, SIGTERM and a closed
 * terminal abort the context's signal, so that the body can clean up; a second one ends the process at once, unless
 * the body has taken the signals over.
 */
export async function withContext(
  command: Command,
  body: (context: CommandContext) => Promise<number>,
): Promise<number> {
  const given = command.opts<CommonOptions>();
  const options = { ...given, dataRoot: resolve(given.dataRoot), runDir: resolve(given.runDir) };
  const output = createOutput(options);
  const controller = new AbortController();
  let released = false;
  const interrupt = (name: NodeJS.Signals) => {
    if (released) return;
    if (controller.signal.aborted) return endByInterrupt();
    // The terminal has written ^C where the next line begins.
    if (name === 'SIGINT' && process.stderr.isTTY) process.stderr.write('\r\x1b[K');
    controller.abort(new RafterError('INTERRUPTED', `interrupted by ${name}`));
  };
  const releaseSignals = () => {
    controller.signal.throwIfAborted();
    released = true;
  };
  for (const name of INTERRUPTS) process.on(name, interrupt);
  try {
    return await body({ options, output, signal: controller.signal, releaseSignals });
  } finally {
    for (const name of INTERRUPTS) process.off(name, interrupt);
  }
}
