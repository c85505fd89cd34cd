import { fileURLToPath } from 'node:url';
import { RafterError } from '../errors.js';
import { packageFile } from '../os/package-file.js';

/**
 * The two units by their file names, for a daemon of this installation.
 *
 * The main process is the supervisor, whose process id stays when the daemon is restarted or upgraded: systemd never has to learn
 * another one. `KillMode=process` gives SIGTERM to the supervisor alone, which has the daemon unmount in good order; and should the
 * supervisor die, systemd leaves the daemon alone, which starts another supervisor: `daemon run`, started by `Restart=`, finds that
 * one and reports it as the main process. With `control-group` or `mixed` all mounts would die with the supervisor. There is no
 * watchdog: systemd would end the supervisor, not the daemon that hangs.
 */
export function systemdUnits({
  runDir,
  dataRoot,
}: {
  runDir: string;
  dataRoot: string;
}): Record<string, string> {
  const rafter = fileURLToPath(packageFile('bin/rafter'));
  const command = (...words: string[]) => [process.execPath, rafter, ...words].map(quote).join(' ');
  const directories = ['--run-dir', runDir, '--data-root', dataRoot];
  return {
    'rafter.service': `[Unit]
Description=Lazily loaded container images
Requires=rafter.socket
After=rafter.socket network.target

[Service]
Type=notify
# The daemon reports, the supervisor is the main process.
NotifyAccess=all
ExecStart=${command('daemon', 'run', ...directories)}
# Replaces the daemon by the version that is installed now; mounts stay.
ExecReload=${command('daemon', 'upgrade', ...directories)}
# The supervisor gets the signal and has the daemon unmount. Mounts outlive a supervisor that dies.
KillMode=process
Restart=on-failure
RestartSec=1
TimeoutStartSec=60
TimeoutStopSec=90
OOMScoreAdjust=-900
LimitNOFILE=1048576
TasksMax=infinity
# Nothing here may give the service a mount namespace of its own (PrivateTmp=, ProtectSystem=, ...): its mounts are for all.

[Install]
WantedBy=multi-user.target
Also=rafter.socket
`,
    'rafter.socket': `[Unit]
Description=Socket of rafter

[Socket]
ListenStream=${escapeSpecifiers(`${runDir}/rafter.sock`)}
SocketMode=0600
DirectoryMode=0700
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
`,
  };
}

/** A word of a command line in a unit (systemd.service(5), "Command lines"). Throws USAGE for control characters. */
function quote(word: string): string {
  const text = escapeSpecifiers(word).replaceAll('$', '$$$$');
  return /^[\w./:%$@=-]+$/.test(text) ? text : `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}

function escapeSpecifiers(text: string): string {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are what is looked for
  if (/[\u0000-\u001f]/.test(text))
    throw new RafterError('USAGE', `a unit cannot hold the path ${JSON.stringify(text)}`);
  return text.replaceAll('%', '%%');
}
