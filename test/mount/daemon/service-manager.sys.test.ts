import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, statSync, writeFileSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { daemonStatus, mountImage, shutdownDaemon, upgradeDaemon } from '../../../src/mount/client/client.js';
import { missingPrograms } from '../../support/programs.js';
import { createPlace, ended, readEverything, type TestPlace } from '../daemon-process.js';
import { writeGoldenLayout } from '../layouts.js';

/**
 * Plays systemd: listens at $ARGV[0] and gives that socket to the command as descriptor 3 (sd_listen_fds(3)); prints every message
 * that comes to NOTIFY_SOCKET, $ARGV[1], on one line with `;` between the fields.
 */
const MANAGER = `
use IO::Socket::UNIX; use POSIX ();
my ($listen, $notify, @command) = @ARGV;
my $server = IO::Socket::UNIX->new(Type => SOCK_STREAM, Local => $listen, Listen => 50) or die $!;
my $messages = IO::Socket::UNIX->new(Type => SOCK_DGRAM, Local => $notify) or die $!;
if (my $child = fork) {
  $| = 1; print "PID=$child\\n"; undef $server;
  while (defined $messages->recv(my $text, 4096)) { $text =~ tr/\\n/;/; print "$text\\n" }
} else {
  open STDIN, '<', '/dev/null'; open STDOUT, '>', '/dev/null';
  @ENV{qw(LISTEN_FDS LISTEN_PID NOTIFY_SOCKET)} = (1, $$, $notify);
  POSIX::dup2(fileno $server, 63); POSIX::close($_) for 3 .. 62; POSIX::dup2(63, 3); POSIX::close(63);
  exec { $command[0] } @command; die $!;
}`;

let place: TestPlace;
let manager: ChildProcess | undefined;
let messages: string[];
beforeEach(() => {
  place = createPlace({ supervised: true });
  messages = [];
});
afterEach(async () => {
  await place.remove();
  manager?.kill();
});

/** Starts the daemon as the unit does. Returns the process id of the main process. */
async function startService(): Promise<number> {
  await mkdir(place.runDir, { mode: 0o700 });
  const script = join(place.dir, 'manager.pl');
  writeFileSync(script, MANAGER);
  const sockets = [join(place.runDir, 'rafter.sock'), join(place.dir, 'notify')];
  manager = spawn('perl', [script, ...sockets, ...place.command], { stdio: ['ignore', 'pipe', 'inherit'] });
  createInterface({ input: manager.stdout! }).on('line', (line) => messages.push(line));
  await said(/^READY=1;/);
  return Number(/^PID=(\d+)$/.exec(messages[0]!)![1]);
}
/** Waits for a message behind those that were there. */
async function said(pattern: RegExp, from = 0): Promise<string> {
  return vi.waitFor(() => {
    const found = messages.slice(from).find((message) => pattern.test(message));
    expect(found, messages.join('\n')).toBeDefined();
    return found!;
  }, 30_000);
}

it.skipIf(process.geteuid?.() !== 0)(
  'reports start, upgrade and end, and serves the socket that it is given through restarts',
  async (ctx) => {
    const missing = missingPrograms('perl');
    if (missing) ctx.skip(missing);
    const main = await startService();
    const before = (await daemonStatus(place))!;
    expect(before.supervisorPid).toBe(main);
    expect(messages.at(-1)).toContain(`MAINPID=${main};`);
    const inode = () => statSync(join(place.runDir, 'rafter.sock')).ino;
    const socket = inode();

    await writeGoldenLayout('small', join(place.dir, 'image'));
    const mountpoint = await place.mountpoint('m');
    await mountImage(place, { reference: `oci:${place.dir}/image:latest`, mountpoint });
    let seen = messages.length;
    process.kill(before.pid, 'SIGKILL');
    // The request waits in the socket that nobody serves just now.
    expect((await daemonStatus(place))!.startReason).toBe('restart');
    await said(/^READY=1;/, seen);

    seen = messages.length;
    expect((await upgradeDaemon(place, [...place.command])).supervisorPid).toBe(main);
    await said(/^RELOADING=1;MONOTONIC_USEC=\d+;/, seen);
    await said(new RegExp(`^READY=1;MAINPID=${main};`), seen);
    await readEverything(mountpoint);
    expect(inode()).toBe(socket);

    // A manager's second start, after the supervisor has died, finds the one that the daemon has started for itself.
    process.kill(main, 'SIGKILL');
    const healed = await vi.waitFor(async () => {
      const status = (await daemonStatus(place))!;
      expect([undefined, main]).not.toContain(status.supervisorPid);
      return status.supervisorPid!;
    }, 30_000);
    seen = messages.length;
    const environment = { ...process.env, NOTIFY_SOCKET: join(place.dir, 'notify') };
    const [program, ...args] = place.command;
    execFileSync(program!, args, { env: environment });
    await said(new RegExp(`^MAINPID=${healed};READY=1;`), seen);

    process.kill(healed, 'SIGTERM');
    await said(/^STOPPING=1;/, seen);
    expect(await ended(healed)).toBe(true);
    expect(inode()).toBe(socket);
    expect(readdirSync(mountpoint)).toEqual([]);
  },
);

it('gives nothing of a service manager to a daemon that a command starts', async () => {
  const [variables, fds] = [
    { NOTIFY_SOCKET: join(place.dir, 'other'), LISTEN_FDS: '1' },
    { LISTEN_PID: '1' },
  ];
  Object.assign(process.env, variables, fds);
  try {
    await writeGoldenLayout('small', join(place.dir, 'image'));
    const mountpoint = await place.mountpoint('m');
    await mountImage(place, { reference: `oci:${place.dir}/image:latest`, mountpoint });
  } finally {
    for (const name of Object.keys({ ...variables, ...fds })) delete process.env[name];
  }
  const { pid } = (await daemonStatus(place))!;
  const environment = await readFile(`/proc/${pid}/environ`, 'latin1');
  expect(environment).not.toMatch(/NOTIFY_SOCKET|LISTEN_/);
  expect(await shutdownDaemon(place)).toBe(true);
});

it('has units that systemd understands', async (ctx) => {
  const dir = await mkdtemp(join(tmpdir(), 'rafter-units-'));
  try {
    const rafter = resolve(import.meta.dirname, '../../../bin/rafter');
    const install = (...args: string[]) =>
      JSON.parse(
        execFileSync(process.execPath, [rafter, 'daemon', 'install-units', '--dir', dir, '--json', ...args], {
          encoding: 'utf8',
        }),
      );
    const files = ['rafter.service', 'rafter.socket'].map((name) => join(dir, name));
    expect(install('--data-root', '/srv/a "b" 100%')).toMatchObject({ files });
    const service = await readFile(files[0]!, 'utf8');
    expect(service).toContain('--data-root "/srv/a \\"b\\" 100%%"\n');
    expect(await readFile(files[1]!, 'utf8')).toContain('ListenStream=/run/rafter/rafter.sock\n');
    const missing = missingPrograms('systemd-analyze');
    if (missing) ctx.skip(missing);
    const analyze = spawn('systemd-analyze', ['verify', ...files], { stdio: ['ignore', 'ignore', 'pipe'] });
    let complaints = '';
    analyze.stderr.on('data', (text) => {
      complaints += text;
    });
    const [code] = await once(analyze, 'close');
    // It also reads the machine's own units.
    const ours = complaints.split('\n').filter((line) => line.includes('rafter'));
    expect([code, ours]).toEqual([0, []]);
  } finally {
    await rm(dir, { recursive: true });
  }
});
