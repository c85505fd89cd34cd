import { fileURLToPath } from 'node:url';
import type { DaemonPlace } from '../mount/client/start-daemon.js';
import { packageFile } from '../os/package-file.js';
import type { CommandContext } from './context.js';

/** Seconds without mounts after which a daemon ends that a command started. */
const IDLE_SECONDS = 60;

/**
 * V8's space for young objects, in MiB for each half of it: the daemon's are small and few; with the default of 16 it would keep
 * tens of megabytes for them. And what lets a daemon at rest collect its garbage (`releaseMemoryAtRest`).
 */
export const HEAP_FLAGS = ['--max-semi-space-size=1', '--expose-gc'];

/** `given` flags of Node.js, and those that a daemon has by default. */
export function heapFlags(given: readonly string[]): string[] {
  const isGiven = (flag: string) => given.some((one) => one.split('=')[0] === flag.split('=')[0]);
  return [...HEAP_FLAGS.filter((flag) => !isGiven(flag)), ...given];
}

/** Where the daemon of a command is, and how it is started if none runs. */
export function daemonPlace(
  { options, signal }: CommandContext,
  { cacheSize }: { cacheSize?: number | undefined } = {},
): DaemonPlace {
  const { runDir, dataRoot } = options;
  return {
    runDir,
    dataRoot,
    // Most often a daemon runs already.
    get command() {
      return daemonCommand({ runDir, dataRoot, idle: IDLE_SECONDS, cacheSize });
    },
    signal,
  };
}

/** Program and arguments that run a daemon of this version, which ends after `idle` seconds without mounts; 0: never. */
export function daemonCommand(options: {
  runDir: string;
  dataRoot: string;
  idle: number;
  cacheSize?: number | undefined;
  metrics?: { host: string; port: number } | undefined;
  logLevel?: string | undefined;
}): string[] {
  const rafter = fileURLToPath(packageFile('bin/rafter'));
  const directories = ['--run-dir', options.runDir, '--data-root', options.dataRoot];
  const size = options.cacheSize === undefined ? [] : ['--cache-size', String(options.cacheSize)];
  const { host, port } = options.metrics ?? {};
  const metrics =
    host === undefined ? [] : ['--metrics', `${host.includes(':') ? `[${host}]` : host}:${port}`];
  const level = options.logLevel === undefined ? [] : ['--log-level', options.logLevel];
  const run = [
    'daemon',
    'run',
    ...directories,
    '--idle',
    String(options.idle),
    ...size,
    ...metrics,
    ...level,
  ];
  return [process.execPath, ...HEAP_FLAGS, rafter, ...run];
}
