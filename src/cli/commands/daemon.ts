import { type Command, InvalidArgumentError } from 'commander';
import { RafterError } from '../../errors.js';
import { SUPERVISED } from '../../mount/supervisor-protocol.js';
import { addCommonOptions, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { formatBytes, formatTable } from '../format.js';
import { packageVersion } from '../version.js';

/** `rafter daemon run | status | stop` */
export function defineDaemon(program: Command, setExitCode: (code: number) => void): void {
  const daemon = program
    .command('daemon')
    .description('the process that serves mounts: mount and run start one when none runs');
  defineDaemonRun(daemon, setExitCode);
  defineDaemonStatus(daemon, setExitCode);
  defineDaemonStop(daemon, setExitCode);
}

function defineDaemonRun(daemon: Command, setExitCode: (code: number) => void): void {
  const command = daemon
    .command('run')
    .description('run the daemon in the foreground until SIGTERM')
    .option('--idle <seconds>', 'end after so many seconds without mounts; 0: never', parseSeconds, 0);
  // The daemon has signal handlers of its own: it unmounts before it ends.
  addCommonOptions(command).action(async (options: { runDir: string; dataRoot: string; idle: number }) => {
    // Its mounts outlive a daemon of root's: another process keeps their descriptors, and starts the daemon again.
    if (process.geteuid?.() === 0 && process.env[SUPERVISED] === undefined) {
      const { supervise } = await import('../../mount/supervisor.js');
      const command = [process.execPath, ...process.execArgv, ...process.argv.slice(1)];
      setExitCode(await supervise(command, options.runDir));
      return;
    }
    const [{ runDaemon }, { resolve }] = await Promise.all([
      import('../../mount/daemon.js'),
      import('node:path'),
    ]);
    await runDaemon({
      runDir: resolve(options.runDir),
      dataRoot: resolve(options.dataRoot),
      version: packageVersion(),
      idleSeconds: options.idle,
    });
    setExitCode(EXIT.ok);
  });
}

function defineDaemonStatus(daemon: Command, setExitCode: (code: number) => void): void {
  const command = daemon.command('status').description('what the daemon is and does');
  addCommonOptions(command).action(async () =>
    setExitCode(
      await withContext(command, async ({ options: { runDir }, output, signal }) => {
        const { daemonStatus } = await import('../../mount/client.js');
        const status = await daemonStatus({ runDir, signal });
        if (status === undefined) throw new RafterError('NOT_FOUND', `no daemon runs for ${runDir}`);
        const rows = [
          ['pid', String(status.pid)],
          ['supervisor', status.supervisorPid === undefined ? 'none' : String(status.supervisorPid)],
          ['version', status.version],
          ['started', status.startedAt],
          ['data root', status.dataRoot],
          ['mounts', String(status.mounts)],
          ['memory', formatBytes(status.residentBytes)],
        ];
        output.result(status, formatTable(rows));
        return EXIT.ok;
      }),
    ),
  );
}

function defineDaemonStop(daemon: Command, setExitCode: (code: number) => void): void {
  const command = daemon.command('stop').description('unmount everything and end the daemon');
  addCommonOptions(command).action(async () =>
    setExitCode(
      await withContext(command, async ({ options: { runDir }, output, signal }) => {
        const { shutdownDaemon } = await import('../../mount/client.js');
        const ran = await shutdownDaemon({ runDir, signal });
        output.info(ran ? 'stopped' : 'no daemon was running');
        return EXIT.ok;
      }),
    ),
  );
}

function parseSeconds(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new InvalidArgumentError('It must be a number of seconds.');
  return value;
}
