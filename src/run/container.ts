import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { errnoOf, isRafterError, messageOf, RafterError } from '../errors.js';
import { makeDirectoriesSync } from '../os/make-directories.js';
import { deleteContainer, killContainer, lacksSeccomp, startFailure } from './runc.js';
import type { RuntimeSpec } from './runtime-spec.js';
import { exitCodeOfSignal, type SignalRelay } from './signal-relay.js';

/** runc, which hands signals on, catches them before it writes the container's state; until then one would end it. */
const READY_POLL_MS = 10;
/** How long runc may take to notice that its container was killed. */
const RUNC_EXIT_MS = 5000;

export interface ContainerRequest {
  id: string;
  /** Directory with the root file system in `rootfs`; the configuration is written into it. */
  bundle: string;
  spec: RuntimeSpec;
  /** Path of runc. */
  runc: string;
  /** Directory where runc keeps the state of containers. */
  runcRoot: string;
  /** True: standard input is the container's; false: it reads nothing. */
  stdin: boolean;
  signals: SignalRelay;
  /** Hears what the container writes to standard output, which goes to this process's as well. */
  onOutput?: ((bytes: Buffer) => void) | undefined;
  /** Told when runc is about to be started. */
  onStart?: (() => void) | undefined;
}

/**
 * Runs a container in the foreground with this process's standard output and error. Returns the container's exit code,
 * 128+n if signal n ended it, or as `docker run` does 125 (runc failed; it has said why on standard error), 126 (the
 * command cannot be executed) or 127 (there is no such command). Nothing of the container is left afterwards. UNSUPPORTED if it
 * is to have a seccomp profile and runc has none.
 */
export async function runContainer(request: ContainerRequest): Promise<number> {
  const { id, bundle, spec, runc, runcRoot, stdin, signals, onOutput } = request;
  const log = join(bundle, 'runc.log');
  makeDirectoriesSync(runcRoot, 0o700);
  writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec), { mode: 0o600 });
  if (signals.pending) return exitCodeOfSignal(signals.pending);

  const args = ['--root', runcRoot, '--log', log, '--log-format', 'json', 'run', '--bundle', bundle, id];
  // A session of its own: the terminal's Ctrl-C reaches this process only, so the container gets it once.
  request.onStart?.();
  const child = spawn(runc, args, {
    stdio: [stdin ? 'inherit' : 'ignore', onOutput ? 'pipe' : 'inherit', 'inherit'],
    detached: true,
  });
  child.stdout?.on('data', (bytes: Buffer) => {
    process.stdout.write(bytes);
    onOutput?.(bytes);
  });
  try {
    const exited = once(child, onOutput ? 'close' : 'exit') as Promise<
      [number | null, NodeJS.Signals | null]
    >;
    signals.attach({
      send: (signal) => sendWhenReady(child, join(runcRoot, id, 'state.json'), signal),
      kill: () => {
        void killContainer(runc, runcRoot, id);
        setTimeout(() => child.kill('SIGKILL'), RUNC_EXIT_MS).unref();
      },
    });
    const [code, signal] = await exited;
    if (signal !== null) return exitCodeOfSignal(signal);
    if (code !== 0 && lacksSeccomp(log))
      throw new RafterError('UNSUPPORTED', `${runc} was built without seccomp`, {
        hint: '--security-opt seccomp=unconfined runs the container without it',
      });
    return (code === 0 ? undefined : startFailure(log)) ?? code!;
  } catch (error) {
    if (isRafterError(error)) throw error;
    throw new RafterError(
      errnoOf(error) === 'EACCES' ? 'DENIED' : 'FAILED',
      `cannot start ${runc}: ${messageOf(error)}`,
      {
        cause: error,
      },
    );
  } finally {
    await deleteContainer(runc, runcRoot, id);
  }
}

function sendWhenReady(child: ChildProcess, stateFile: string, signal: NodeJS.Signals): void {
  if (child.exitCode !== null || child.signalCode !== null) return;
  if (existsSync(stateFile)) child.kill(signal);
  else setTimeout(() => sendWhenReady(child, stateFile, signal), READY_POLL_MS);
}
