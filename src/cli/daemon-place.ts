import { fileURLToPath } from 'node:url';
import type { DaemonPlace } from '../mount/start-daemon.js';
import type { CommandContext } from './context.js';

/** Seconds without mounts after which a daemon ends that a command started. */
const IDLE_SECONDS = 60;

/** Where the daemon of a command is, and how it is started if none runs. */
export function daemonPlace({ options, signal }: CommandContext): DaemonPlace {
  const { runDir, dataRoot } = options;
  const rafter = fileURLToPath(new URL('../../bin/rafter', import.meta.url));
  const directories = ['--run-dir', runDir, '--data-root', dataRoot];
  const command = [process.execPath, rafter, 'daemon', 'run', ...directories];
  return { runDir, dataRoot, command: [...command, '--idle', String(IDLE_SECONDS)], signal };
}
