import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { DaemonStatus } from '../../mount/api/api.js';
import type { ListenAddress } from '../../mount/daemon/metrics-server.js';
import { LOG_LEVELS, type LogLevel } from '../../mount/log-file.js';
import { SUPERVISED } from '../../mount/supervisor/supervisor-protocol.js';
import { addCommonOptions, withContext } from '../context.js';
import { daemonCommand, heapFlags } from '../daemon-place.js';
import { EXIT } from '../exit-codes.js';
import { formatBytes, formatTable } from '../format.js';
import { parseListenAddress } from '../listen-address.js';
import { addCacheSizeOption } from '../size.js';
import { packageVersion } from '../version.js';

/** The options of `daemon run`, which `daemon upgrade` takes for the daemon that it starts. */
interface DaemonCliOptions {
  runDir: string;
  dataRoot: string;
  idle: number;
  cacheSize?: number;
  metrics?: ListenAddress;
  logLevel?: LogLevel;
}

/** `rafter daemon run | status | upgrade | stop | install-units` */
export function defineDaemon(program: Command, setExitCode: (code: number) => void): void {
  const daemon = program
    .command('daemon')
    .description('the process that serves mounts: mount and run start one when none runs');
  defineDaemonRun(daemon, setExitCode);
  defineDaemonStatus(daemon, setExitCode);
  defineDaemonUpgrade(daemon, setExitCode);
  defineDaemonStop(daemon, setExitCode);
  defineInstallUnits(daemon, setExitCode);
}

function addDaemonOptions(command: Command): Command {
  return addCacheSizeOption(
    addCommonOptions(
      command
        .option('--idle <seconds>', 'end after so many seconds without mounts; 0: never', parseSeconds, 0)
        .option(
          '--metrics <address>',
          'offer Prometheus metrics also over TCP, at [HOST:]PORT; default: on the socket in the run directory only',
          parseListenAddress,
        )
        .addOption(
          new Option(
            '--log-level <level>',
            'the least important lines in daemon.log (default: info)',
          ).choices(LOG_LEVELS),
        ),
    ),
  );
}

function defineDaemonRun(daemon: Command, setExitCode: (code: number) => void): void {
  const command = daemon
    .command('run')
    .description('run the daemon in the foreground until SIGTERM')
    .addHelpText(
      'after',
      `
A service manager runs it with --idle 0, which is the default here.

Examples:
  rafter daemon run --cache-size 20G
  rafter daemon run --metrics 127.0.0.1:9464`,
    );
  // The daemon has signal handlers of its own: it unmounts before it ends.
  addDaemonOptions(command).action(async (options: DaemonCliOptions) => {
    const runDir = resolve(options.runDir);
    const ownCommand = [process.execPath, ...heapFlags(process.execArgv), ...process.argv.slice(1)];
    // Its mounts outlive a daemon of root's: another process keeps their descriptors, and starts the daemon again.
    if (process.geteuid?.() === 0 && process.env[SUPERVISED] === undefined) {
      const [{ prepareRunDir }, { activatedSocket }, { supervisorCommand }, { replaceProcess }] =
        await Promise.all([
          import('../../mount/client/run-dir.js'),
          import('../../mount/daemon/service-manager.js'),
          import('../../mount/supervisor/supervisor-command.js'),
          import('../../os/exec.js'),
        ]);
      prepareRunDir(runDir);
      if (process.env.NOTIFY_SOCKET && (await reportRunning(runDir))) return setExitCode(EXIT.ok);
      const [program, ...args] = supervisorCommand(runDir, ownCommand);
      const socket = activatedSocket();
      replaceProcess(program!, args, { keep: socket === undefined ? [] : [socket] });
    }
    const { runDaemon } = await import('../../mount/daemon/daemon.js');
    const ended = await runDaemon({
      runDir,
      dataRoot: resolve(options.dataRoot),
      version: packageVersion(),
      idleSeconds: options.idle,
      cacheSize: options.cacheSize,
      metrics: options.metrics,
      logLevel: options.logLevel,
      command: ownCommand,
    });
    // Reads that nobody here answers any more would keep the process.
    if (ended === 'upgrade') process.exit(EXIT.ok);
    setExitCode(EXIT.ok);
  });
}

/**
 * Tells the service manager which process to watch if a supervisor lives in `runDir`: the one of a daemon whose first supervisor
 * has died. False if none does.
 */
async function reportRunning(runDir: string): Promise<boolean> {
  const [{ hasSupervisor }, { daemonStatus }, { notifyManager }] = await Promise.all([
    import('../../mount/client/run-dir.js'),
    import('../../mount/client/client.js'),
    import('../../os/notify.js'),
  ]);
  const status = hasSupervisor(runDir) ? await daemonStatus({ runDir }) : undefined;
  if (status?.supervisorPid === undefined) return false;
  notifyManager({ MAINPID: String(status.supervisorPid), READY: '1' });
  return true;
}

function defineInstallUnits(daemon: Command, setExitCode: (code: number) => void): void {
  const command = daemon
    .command('install-units')
    .description('write rafter.service and rafter.socket for systemd')
    .option('--dir <dir>', 'where to', '/etc/systemd/system')
    .addHelpText(
      'after',
      `
Example:
  rafter daemon install-units
  systemctl daemon-reload
  systemctl enable --now rafter.socket`,
    );
  addCommonOptions(command).action(async ({ dir }: { dir: string }) =>
    setExitCode(
      await withContext(command, async ({ output, options }) => {
        const [{ systemdUnits }, { makeDirectories }, { writeWholeFile }] = await Promise.all([
          import('../systemd-units.js'),
          import('../../os/make-directories.js'),
          import('../../os/whole-file.js'),
        ]);
        const units = Object.entries(systemdUnits(options));
        const files = units.map(([name]) => join(resolve(dir), name));
        await makeDirectories(resolve(dir));
        for (const [i, [, text]] of units.entries()) await writeWholeFile(files[i]!, text, { mode: 0o644 });
        output.result({ files }, `${files.join('\n')}\n`);
        return EXIT.ok;
      }),
    ),
  );
}

function defineDaemonStatus(daemon: Command, setExitCode: (code: number) => void): void {
  const command = daemon
    .command('status')
    .description('what the daemon is and does')
    .addHelpText(
      'after',
      `
Examples:
  rafter daemon status
  rafter daemon status --json | jq .cache`,
    );
  addCommonOptions(command).action(async () =>
    setExitCode(
      await withContext(command, async ({ options: { runDir }, output, signal }) => {
        const { daemonStatus, noDaemon } = await import('../../mount/client/client.js');
        const status = await daemonStatus({ runDir, signal, onNotice: output.warn });
        if (status === undefined) throw noDaemon(runDir);
        const rows = [
          ['pid', String(status.pid)],
          ['supervisor', status.supervisorPid === undefined ? 'none' : String(status.supervisorPid)],
          ['version', status.version],
          ['came by', status.startReason],
          ['started', status.startedAt],
          ['data root', status.dataRoot],
          ['mounts', `${status.mounts}${status.kept > 0 ? `, ${status.kept} kept for the next run` : ''}`],
          ['cache', describeCache(status.cache)],
          ['chunks', describeChunks(status.cache.stats)],
          ['memory', formatBytes(status.residentBytes)],
        ];
        output.result(status, formatTable(rows));
        return EXIT.ok;
      }),
    ),
  );
}

function defineDaemonUpgrade(daemon: Command, setExitCode: (code: number) => void): void {
  const command = daemon
    .command('upgrade')
    .description('replace the running daemon by one of this version; mounts stay, readers notice nothing')
    .addHelpText(
      'after',
      `
Example:
  rafter daemon upgrade`,
    );
  addDaemonOptions(command).action(
    async ({ idle, cacheSize, metrics, logLevel }: Omit<DaemonCliOptions, 'runDir' | 'dataRoot'>) =>
      setExitCode(
        await withContext(command, async (context) => {
          const { output, options, signal } = context;
          const { daemonStatus, noDaemon, upgradeDaemon } = await import('../../mount/client/client.js');
          const place = { runDir: options.runDir, signal };
          const before = await daemonStatus(place);
          if (before === undefined) throw noDaemon(options.runDir);
          const { dataRoot } = before;
          const status = await upgradeDaemon(
            place,
            daemonCommand({ ...options, dataRoot, idle, cacheSize, metrics, logLevel }),
          );
          const text = `version ${before.version} (process ${before.pid}) -> ${status.version} (process ${status.pid})`;
          output.result({ before, status }, `${text}\n`);
          return EXIT.ok;
        }),
      ),
  );
}

function defineDaemonStop(daemon: Command, setExitCode: (code: number) => void): void {
  const command = daemon
    .command('stop')
    .description('unmount everything and end the daemon')
    .addHelpText(
      'after',
      `
Example:
  rafter daemon stop`,
    );
  addCommonOptions(command).action(async () =>
    setExitCode(
      await withContext(command, async ({ options: { runDir }, output, signal }) => {
        const { shutdownDaemon } = await import('../../mount/client/client.js');
        const ran = await shutdownDaemon({ runDir, signal, onNotice: output.warn });
        output.done({ stopped: ran }, ran ? 'stopped' : 'no daemon was running');
        return EXIT.ok;
      }),
    ),
  );
}

function describeCache({ quota, problem }: DaemonStatus['cache']): string {
  const size = quota ? `${formatBytes(quota.used)} of ${formatBytes(quota.limit)}` : 'no limit';
  return problem === undefined ? size : `${size}; nothing is kept now: ${problem}`;
}

/** Where the chunks came from that somebody wanted since the daemon started. */
function describeChunks({ hits, misses, copied }: DaemonStatus['cache']['stats']): string {
  return `${hits} found here, ${misses} not, ${copied} copied from other blobs`;
}

function parseSeconds(text: string): number {
  const value = Number(text);
  if (!Number.isFinite(value) || value < 0) throw new InvalidArgumentError('It must be a number of seconds.');
  return value;
}
