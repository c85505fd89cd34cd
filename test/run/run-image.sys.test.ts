import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { missingPrograms } from '../support/programs.js';
import { RunHarness, THROWN } from './run-harness.js';

const missing = missingPrograms('runc');
let harness: RunHarness;
beforeEach((ctx) => {
  if (missing) ctx.skip(missing);
});
beforeAll(() => {
  harness = new RunHarness();
});
afterEach(() => {
  expect(harness.leftovers()).toEqual([]);
});
afterAll(() => harness.close());

describe('exit codes', () => {
  it('are the container’s', () => {
    expect(harness.run({ command: ['sh', '-c', 'exit 0'] }).code).toBe(0);
    expect(harness.run({ command: ['sh', '-c', 'exit 42'] }).code).toBe(42);
    expect(harness.run({ command: ['sh', '-c', 'exit 1'] }).code).toBe(1);
  });

  it('are 128 and the signal’s number when a signal ends the process', () => {
    expect(harness.run({ command: ['sh', '-c', 'sh -c "kill -9 \\$\\$"'] }).code).toBe(137);
  });

  it('are 127 for a command that is not there, which runc says', () => {
    const { code, stderr } = harness.run({ command: ['nope'] });
    expect(code).toBe(127);
    expect(stderr).toContain('"nope": executable file not found');
    expect(harness.run({ command: ['/bin/nope'] }).code).toBe(127);
  });

  it('are 126 for a file that is not executable, or a directory', () => {
    expect(harness.run({ command: ['/bin/not-executable'] }).code).toBe(126);
    expect(harness.run({ command: ['/bin'] }).code).toBe(126);
  });

  it('are 125 when runc cannot make the container', () => {
    expect(harness.run({ command: ['sh'], workdir: '/etc/passwd' }).code).toBe(125);
  });

  it('do not exist for options that make no sense: nothing is started', () => {
    const refused = (options: Parameters<RunHarness['run']>[0]) => {
      const { code, stderr } = harness.run(options);
      expect(code).toBe(THROWN);
      return stderr;
    };
    expect(refused({})).toMatch(/^USAGE: no command/);
    expect(refused({ command: ['sh'], user: 'nobody-here' })).toMatch(/^NOT_FOUND: user 'nobody-here'/);
    expect(refused({ command: ['sh'], tty: true })).toMatch(/^USAGE: -t needs a terminal/);
    expect(refused({ command: ['sh'], volumes: ['name:/x'] })).toMatch(/^USAGE: volume 'name:\/x'/);
    expect(refused({ command: ['sh'], volumes: ['/tmp:/x', '/etc:/x/'] })).toMatch(/two volumes/);
  });
});

describe('the process', () => {
  it('gets entry point and command of the image, or the user’s', () => {
    const config = { Entrypoint: ['sh', '-c', 'echo "$0 $*"'], Cmd: ['from', 'image'] };
    expect(harness.run({}, { config }).stdout).toBe('from image\n');
    expect(harness.run({ command: ['mine'] }, { config }).stdout).toBe('mine \n');
    expect(harness.run({ entrypoint: 'env' }, { config }).stdout).toContain('PATH=');
  });

  it('gets the image’s environment, changed by -e, and no other', () => {
    const config = { Env: ['PATH=/bin', 'A=image', 'B=image', 'C=image'] };
    const { stdout } = harness.run(
      { command: ['env'], env: ['A=user', 'FROM_CALLER', 'C'], hostname: 'box' },
      { config, env: { FROM_CALLER: 'yes', UNASKED: 'no' } },
    );
    expect(stdout.trim().split('\n').sort()).toEqual([
      'A=user',
      'B=image',
      'FROM_CALLER=yes',
      'HOME=/root',
      'HOSTNAME=box',
      'PATH=/bin',
    ]);
  });

  it('starts in the image’s working directory or -w, which is made', () => {
    expect(harness.sh('pwd', {}, { WorkingDir: '/data' })).toBe('/data');
    expect(harness.sh('pwd; ls -d /new/one', { workdir: '/new/one' })).toBe('/new/one\n/new/one');
    expect(existsSync(join(harness.lower, 'new'))).toBe(false);
  });

  it('runs as the user asked for, with groups, home and without capabilities', () => {
    expect(harness.sh('id; echo $HOME', { user: 'app' })).toBe(
      'uid=1000(app) gid=1000(app) groups=1000(app),29(audio),44(video)\n/home/app',
    );
    expect(harness.sh('id -u; id -g; id -G', { user: '7:44' })).toBe('7\n44\n44');
    expect(harness.sh('grep CapEff /proc/self/status', { user: 'app' })).toMatch(/\t0+$/);
    expect(harness.sh('id -u', {}, { User: 'app' })).toBe('1000');
  });

  it('has Docker’s capabilities as root, and may raise its rights', () => {
    expect(harness.sh('grep -E "^Cap(Eff|Bnd|Inh)|NoNewPrivs" /proc/self/status').replace(/\t/g, ' ')).toBe(
      'CapInh: 0000000000000000\nCapEff: 00000000a80425fb\nCapBnd: 00000000a80425fb\nNoNewPrivs: 0',
    );
  });

  it('reads standard input with -i, and nothing without', () => {
    expect(harness.run({ command: ['cat'], interactive: true }, { input: 'words' }).stdout).toBe('words');
    expect(harness.run({ command: ['cat'] }, { input: 'words' }).stdout).toBe('');
  });

  it('keeps standard output and standard error apart', () => {
    const { stdout, stderr } = harness.run({ command: ['sh', '-c', 'echo out; echo err >&2'] });
    expect([stdout, stderr]).toEqual(['out\n', 'err\n']);
  });

  it('gets a terminal with -t', (ctx) => {
    const reason = missingPrograms('script');
    if (reason) ctx.skip(reason);
    const argv = harness.argv({
      command: ['sh', '-c', 'test -t 0 && test -t 1 && read line && echo "got $line $TERM"; exit 5'],
      tty: true,
      interactive: true,
    });
    const quoted = argv.map((arg) => `'${arg.replaceAll("'", "'\\''")}'`).join(' ');
    const { status, stdout } = spawnSync('script', ['-qec', quoted, '/dev/null'], {
      input: 'hello\n',
      encoding: 'utf8',
    });
    expect(stdout).toContain('got hello xterm');
    expect(status).toBe(5);
  });
});

describe('the file system', () => {
  it('is writable, and the image stays as it was', () => {
    expect(harness.sh('echo x >/data/from-image; touch /new; cat /data/from-image')).toBe('x');
    expect(readFileSync(join(harness.lower, 'data/from-image'), 'utf8')).toBe('image\n');
    expect(existsSync(join(harness.lower, 'new'))).toBe(false);
  });

  it('cannot be written with --read-only, but for volumes that the image declares', () => {
    const config = { Volumes: { '/data': {}, '/made/new': {} } };
    const script = 'touch /x 2>/dev/null || echo no; touch /made/new/y /data/z && cat /data/from-image';
    expect(harness.sh(script, { readOnly: true }, config)).toBe('no\nimage');
    expect(harness.sh('echo x >/etc/hosts || echo no', { readOnly: true })).toBe('no');
  });

  it('shows -v host:container, read-only with :ro, and makes a missing host directory', () => {
    const shared = harness.shared();
    writeFileSync(join(shared, 'in'), 'from host\n');
    expect(harness.sh('cat /mnt/in; echo back >/mnt/out', { volumes: [`${shared}:/mnt`] })).toBe('from host');
    expect(readFileSync(join(shared, 'out'), 'utf8')).toBe('back\n');
    expect(harness.sh('touch /mnt/no 2>/dev/null || echo ro', { volumes: [`${shared}:/mnt:ro`] })).toBe('ro');
    harness.sh('touch /a/b/file', { volumes: [`${shared}/sub:/a/b`, `${shared}:/a`] });
    expect(readdirSync(shared).sort()).toEqual(['b', 'in', 'out', 'sub']); // b: where the other is mounted
    expect(readdirSync(join(shared, 'sub'))).toEqual(['file']);
  });

  it('takes one file as a volume, also in place of a file that Docker supplies', () => {
    const file = join(harness.shared(), 'my-hosts');
    writeFileSync(file, '10.1.2.3 mine\n');
    expect(harness.sh('cat /etc/hosts', { volumes: [`${file}:/etc/hosts`] })).toBe('10.1.2.3 mine');
  });

  it('gets the machine’s resolv.conf and hosts, and its own hostname', () => {
    const resolver = existsSync('/etc/resolv.conf') ? readFileSync('/etc/resolv.conf', 'utf8') : '';
    expect(harness.sh('cat /etc/resolv.conf')).toBe(resolver.trimEnd());
    expect(readFileSync(join(harness.lower, 'etc/elsewhere'), 'utf8')).toBe('must stay\n');
    expect(harness.sh('cat /etc/hostname')).toBe(hostname());
    expect(harness.sh('cat /etc/hostname /proc/sys/kernel/hostname', { hostname: 'box' })).toBe('box\nbox');
  });

  it('has Docker’s masked and read-only paths, devices and mounts', () => {
    expect(harness.sh('cat /proc/kcore; touch /proc/sys/kernel/x 2>/dev/null || echo ro')).toBe('ro');
    expect(harness.sh('ls /dev | grep -v core')).toBe(
      ['fd', 'full', 'mqueue', 'null', 'ptmx', 'pts', 'random', 'shm', 'stderr', 'stdin', 'stdout']
        .concat('tty', 'urandom', 'zero')
        .join('\n'),
    );
    expect(harness.sh('stat -c %a /dev/shm; touch /dev/shm/x; touch /sys/x 2>/dev/null || echo ro')).toBe(
      '1777\nro',
    );
  });

  it('is seen by its own processes only', () => {
    expect(harness.sh('echo $$; ls -d /proc/[0-9]* | cat')).toMatch(/^1\n\/proc\/1\n(\/proc\/\d+\n?){0,2}$/);
  });
});

describe('the network', () => {
  const devices = 'cat /proc/net/dev';
  it('is the machine’s by default', () => {
    const names = (text: string) => [...text.matchAll(/^ *([^\s:|]+):/gm)].map((match) => match[1]).sort();
    expect(names(harness.sh(devices))).toEqual(names(readFileSync('/proc/net/dev', 'utf8')));
  });

  it('is a loopback device only with --net none', () => {
    const text = harness.sh(`${devices}; cat /etc/hosts; cat /proc/sys/net/ipv4/ip_unprivileged_port_start`, {
      network: 'none',
    });
    expect(text).toMatch(/^ *lo:/m);
    expect(text).not.toMatch(/^ *(eth|en)\w*:/m);
    expect(text).toMatch(/localhost[\s\S]*\n0$/);
  });
});

describe('signals', () => {
  it('reach the container, whose exit code counts, and everything is cleaned up', async () => {
    const script = 'trap "echo term; exit 7" TERM; echo up; while :; do sleep 0.05; done';
    const child = await harness.start({ command: ['sh', '-c', script] });
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await exited).toEqual([7, null]);
  });

  it('each reach it once', async () => {
    const log = join(harness.shared(), 'signals');
    const script = `n=0; trap 'n=$((n+1)); echo $n >/mnt/signals' USR1; trap 'exit 3' INT
      echo up; while :; do sleep 0.05; done`;
    const child = await harness.start({
      command: ['sh', '-c', script],
      volumes: [`${harness.shared()}:/mnt`],
    });
    child.kill('SIGUSR1');
    for (let i = 0; i < 100 && !existsSync(log); i++) await sleep(20);
    await sleep(200);
    const exited = once(child, 'exit');
    child.kill('SIGINT');
    expect(await exited).toEqual([3, null]);
    expect(readFileSync(log, 'utf8')).toBe('1\n');
  });

  it('kill a container that takes no notice, at the third interrupt', async () => {
    const script = 'trap "echo heard" INT; echo up; while :; do sleep 0.05; done';
    const child = await harness.start({ command: ['sh', '-c', script] });
    const exited = once(child, 'exit');
    // Signals that come before the last one was taken are one.
    for (let i = 0; i < 2; i++) {
      const heard = once(child.stdout!, 'data');
      child.kill('SIGINT');
      expect(String((await heard)[0])).toBe('heard\n');
    }
    expect(child.exitCode).toBe(null);
    child.kill('SIGINT');
    expect(await exited).toEqual([137, null]);
  });

  it('ten seconds after SIGTERM kill a container that takes no notice', async () => {
    const child = await harness.start({ command: ['sh', '-c', 'echo up; exec sleep 1000'] });
    const begin = Date.now();
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await exited).toEqual([137, null]);
    expect(Date.now() - begin).toBeGreaterThan(9000);
  });

  it('during the start leave nothing either', async () => {
    for (const delay of [40, 120, 160, 200, 240, 280]) {
      const [program, ...args] = harness.argv({
        command: ['sh', '-c', 'trap "exit 7" TERM; while :; do sleep 0.05; done'],
      });
      const child = spawn(program!, args, { stdio: 'ignore' });
      const exited = once(child, 'exit');
      await sleep(delay);
      child.kill('SIGTERM');
      const [code, signal] = await exited;
      expect(signal === 'SIGTERM' || code !== 0, `after ${delay} ms: ${code} ${signal}`).toBe(true);
      expect(harness.leftovers()).toEqual([]);
    }
  });
});

describe('after kill -9', () => {
  it('the next run ends the container and removes what was left', async () => {
    const child = await harness.start({ command: ['sh', '-c', 'echo up; exec sleep 1000'] });
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
    expect(harness.leftovers().length).toBeGreaterThan(2);
    expect(harness.sh('echo next')).toBe('next');
  });

  it('a container that another process runs is left alone', async () => {
    const child = await harness.start({
      command: ['sh', '-c', 'trap "exit 4" TERM; echo up; while :; do sleep 0.05; done'],
    });
    expect(harness.sh('echo second')).toBe('second');
    const exited = once(child, 'exit');
    child.kill('SIGTERM');
    expect(await exited).toEqual([4, null]);
  });
});

it('refuses a tree whose path overlayfs would read as two', () => {
  const odd = join(harness.directory, 'a:b');
  mkdirSync(join(odd, 'bin'), { recursive: true });
  chmodSync(odd, 0o755);
  const [program, ...args] = harness.argv({ command: ['sh'] }, {}, odd);
  const { stderr } = spawnSync(program!, args, { encoding: 'utf8' });
  expect(stderr).toMatch(/^USAGE: overlayfs cannot use the path/);
});
