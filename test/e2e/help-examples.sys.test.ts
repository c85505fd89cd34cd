import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
// @ts-expect-error: a script of the documentation, without types.
import { listCommands } from '../../docs/program.mjs';
import { describeProgram } from '../../src/cli/program.js';
import { addProgram, makeSmallRootfs } from '../run/small-rootfs.js';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { type FakeDfdaemon, startFakeDfdaemon } from '../support/fake-dfdaemon.js';
import { writeLayerImage } from '../support/layer-image.js';
import { missingPrograms } from '../support/programs.js';
import { startRegistry, type TestRegistry } from '../support/registry-server.js';

// What the help of a command shows is what people type: every example is run, with a registry, an image and places of the test.
const checkout = resolve(import.meta.dirname, '../..');
const missing =
  process.geteuid?.() === 0
    ? missingPrograms('docker-registry', 'htpasswd', 'runc', 'jq', 'script', 'busybox')
    : 'needs root';
const USER = { user: 'robot', password: 'of-the-test' };

/** Why an example is not run here. */
const NOT_RUN = new Map([
  ['(asks)', 'test/cli/login.sys.test.ts answers'],
  ['systemctl', 'test/mount/daemon/service-manager.sys.test.ts stands in for systemd'],
]);

const MOUNTED = 'rafter mounts --json | grep -q MOUNT || rafter mount IMAGE MOUNT';
/** Other exit codes than 0 that examples may end with. */
const EXIT_CODES = new Map([
  // They are different.
  ['rafter diff registry.example.com/python:3.12-nydus registry.example.com/python:3.13-nydus', [1]],
  // Of this machine or registry something may be missing; docker-registry deletes no tags.
  ['rafter doctor', [0, 6]],
  ['rafter doctor registry.example.com/team/scratch', [0, 6]],
  ['rafter delete registry.example.com/team/app:old', [0, 6]],
]);

/** What has to be there before the examples of a command. IMAGE and MOUNT are places of the test. */
const BEFORE: Record<string, string> = {
  mount: 'rafter umount MOUNT 2>/dev/null; true',
  umount: MOUNTED,
  'trace save': 'rafter mount --trace ignored IMAGE MOUNT && cat MOUNT/etc/os-release',
  'trace merge': 'cp start.trace serve.trace; cp start.trace migrate.trace',
  'daemon run': 'rafter umount MOUNT; rafter daemon stop',
  'daemon status': MOUNTED,
};

let cli: CommandLine;
let registry: TestRegistry;
let dfdaemon: FakeDfdaemon;
let port: number;

interface Example {
  command: string;
  text: string;
}

/** One example is a line with those that it is continued on; lines that belong together are run in their order. */
const EXAMPLES: Example[] = (
  listCommands(await describeProgram()) as { name: string; examples: string }[]
).flatMap(({ name, examples }) =>
  examples
    .split(/(?<!\\)\n/)
    .filter((text) => text.trim() !== '')
    .map((text) => ({ command: name, text })),
);
/** The log-in comes first and goes last. */
const ORDER = ['login', 'convert', 'run', 'optimize', 'diff'];
const rank = ({ command }: Example) => {
  const at = ORDER.indexOf(command);
  return command === 'logout' ? ORDER.length + 1 : at < 0 ? ORDER.length : at;
};

describe.skipIf(missing)('examples', () => {
  beforeAll(async () => {
    cli = createCommandLine();
    registry = await startRegistry({ htpasswd: USER });
    dfdaemon = await startFakeDfdaemon();
    port = await freePort();
    for (const name of ['bin', 'mnt', 'home/.config/fish/completions', 'bash', 'zsh'])
      mkdirSync(join(cli.dir, name), { recursive: true });
    symlinkSync(join(checkout, 'bin/rafter'), join(cli.dir, 'bin/rafter'));
    writeFileSync(join(cli.dir, 'secret'), USER.password);
    writeFileSync(join(cli.dir, 'test.yaml'), 'driver: fuse\n');
    await makeImages();
  });
  afterAll(async () => {
    await dfdaemon?.stop();
    expect(await cli.remove()).toEqual([]);
    await registry.stop();
  });

  it('are there for every command', () => {
    expect(EXAMPLES.length).toBeGreaterThan(55);
  });

  for (const example of EXAMPLES.toSorted((a, b) => rank(a) - rank(b)))
    it(`${example.command}: ${example.text}`, async (ctx) => {
      const reason = [...NOT_RUN].find(([part]) => example.text.includes(part))?.[1];
      if (reason !== undefined) ctx.skip(reason);
      const before = BEFORE[example.command];
      if (before !== undefined) await shell(before, 0);
      const { code, output } = await shell(example.text, example);
      expect(EXIT_CODES.get(example.text) ?? [0], `exit code ${code}: ${output}`).toContain(code);
    });
});

/** The ordinary images that the examples begin with: `python`, in two versions, and `web`, which listens. */
async function makeImages(): Promise<void> {
  const root = makeSmallRootfs(join(cli.dir, 'rootfs-of-image'));
  addProgram(root, 'bash');
  // Without libraries of its own.
  copyFileSync(execFileSync('which', ['busybox'], { encoding: 'utf8' }).trim(), join(root, 'bin/busybox'));
  mkdirSync(join(root, 'usr/lib'), { recursive: true });
  writeFileSync(join(root, 'usr/lib/os-release'), 'NAME=test\n');
  symlinkSync('../usr/lib/os-release', join(root, 'etc/os-release'));
  writeFileSync(join(root, 'bin/python3'), '#!/bin/sh\ncat /usr/lib/os-release\n', { mode: 0o755 });
  const layout = join(cli.dir, 'images');
  const layer = (name: string) => {
    const file = join(cli.dir, `${name}.tar.gz`);
    execFileSync('tar', ['-C', root, '-czf', file, '.']);
    return file;
  };
  const old = layer('old');
  for (const name of ['python', 'app']) await writeLayerImage(layout, name, [old]);
  writeFileSync(join(root, 'usr/lib/os-release'), 'NAME=newer\n');
  const newer = layer('newer');
  await writeLayerImage(layout, 'newer', [newer]);
  await shell(
    `set -e
    rafter login -u robot --password-stdin ${registry.host} <secret
    for name in python:3.12 app:v2 app:v1; do rafter copy oci:images:python ${registry.host}/$name; done
    rafter convert oci:images:newer ${registry.host}/python:3.13-nydus
    rafter convert ${registry.host}/app:v1 ${registry.host}/app:v1-nydus
    rafter copy ${registry.host}/app:v1-nydus ${registry.host}/team/app:old
    rafter copy ${registry.host}/app:v1-nydus ${registry.host}/team/app:other`,
    0,
  );
  // What such an image runs: its /bin/sh.
  rmSync(join(root, 'bin/sh'));
  // The first process of a container ends by a signal only if it says so.
  const serve = `#!/bin/bash\ntrap exit TERM\nbusybox httpd -f -p 127.0.0.1:${port} -h /usr/lib &\nwait\n`;
  writeFileSync(join(root, 'bin/sh'), serve, { mode: 0o755 });
  await writeLayerImage(layout, 'web', [layer('web')]);
  await shell(`rafter convert oci:images:web ${registry.host}/web:nydus`, 0);
}

/** Runs `text` in bash with the places of the test in place of those that it names; fails unless it ends with `expected`, if that is a number. */
async function shell(
  text: string,
  expected: number | Example,
): Promise<{ code: number | null; output: string }> {
  const digest = /sha256:7f49\.\.\./.test(text) ? await digestOf(`${registry.host}/team/app:other`) : '';
  const script = text
    .replace(/ +\([a-z]+\)$/, '')
    .replaceAll('registry.example.com', registry.host)
    .replaceAll('mirror.example.com', `${registry.host}/mirror`)
    .replaceAll('docker.io/library', registry.host)
    .replaceAll('ghcr.io', registry.host)
    .replaceAll('/mnt/python', join(cli.dir, 'mnt'))
    .replaceAll('MOUNT', join(cli.dir, 'mnt'))
    .replaceAll('IMAGE', `${registry.host}/python:3.12-nydus`)
    .replaceAll('/etc/bash_completion.d', join(cli.dir, 'bash'))
    .replaceAll(/\$\{fpath\[1\]\}/g, join(cli.dir, 'zsh'))
    .replaceAll('sha256:7f49...', digest)
    .replaceAll('http://127.0.0.1:4001', dfdaemon.url)
    .replaceAll('port:8080', `port:${port}`)
    .replaceAll('127.0.0.1:9464', '127.0.0.1:0')
    .replace(/daemon install-units$/, `$& --dir ${join(cli.dir, 'units')}`)
    .replace(/^rafter daemon run.*/, DAEMON);
  const file = join(cli.dir, 'example.sh');
  writeFileSync(file, `cd ${cli.dir}\n${script}\n`);
  // -t asks for a terminal.
  const [program, ...args] = / -it /.test(text)
    ? ['script', '-qec', `bash ${file}`, '/dev/null']
    : ['bash', file];
  const child = spawn(program!, args, {
    stdio: ['pipe', 'pipe', 'pipe'],
    env: {
      ...process.env,
      PATH: `${cli.dir}/bin:${process.env.PATH}`,
      HOME: join(cli.dir, 'home'),
      TMPDIR: cli.dir,
      RAFTER_DATA_ROOT: join(cli.dir, 'data'),
      RAFTER_RUN_DIR: join(cli.dir, 'run'),
      DOCKER_CONFIG: join(cli.dir, 'docker'),
    },
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (piece: Buffer) => (output += piece.toString()));
  child.stdin.on('error', () => {});
  child.stdin.end('exit\n');
  // Not `close`: a daemon that it starts would hold the streams open if it had them.
  const [code] = (await once(child, 'close')) as [number | null];
  if (typeof expected === 'number' && code !== expected)
    throw new Error(`${script}: exit code ${code}: ${output}`);
  return { code, output };
}

/** A daemon in the foreground, until it answers. */
const DAEMON = `$& & for i in $(seq 300); do rafter daemon status && break; sleep 0.1; done
rafter daemon stop && wait $!`;

async function digestOf(image: string): Promise<string> {
  const { output } = await shell(`rafter inspect --json ${image}`, 0);
  return (JSON.parse(output) as { digest: string }).digest;
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port: free } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return free;
}
