import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it, type TestContext, vi } from 'vitest';
import { formatTrace } from '../../src/trace/trace.js';
import { makeCertificate } from '../support/certificates.js';
import { type CommandLine, createCommandLine } from '../support/command-line.js';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.js';
import { runInProcess } from '../support/in-process.js';
import { missingPrograms } from '../support/programs.js';
import { startSecuredRegistry } from '../support/secured-registry.js';
import { touchOf, traceOf } from '../trace/traces.js';

const golden = resolve(import.meta.dirname, '../../fixtures/golden/oci');
const plain = `oci:${golden}/tiny-src`;
const lazy = `oci:${golden}/tiny-nydus`;
const isRoot = process.geteuid?.() === 0;

let cli: CommandLine;
let dir: string;
let open: FakeRegistry;
let secured: { host: string; stop(): Promise<void> } | undefined;
let authorityFile = '';
let page: Server;
let pageHost: string;
let goneHost: string;
const shown: string[] = [];

beforeAll(async () => {
  cli = createCommandLine();
  dir = cli.dir;
  vi.stubEnv('RAFTER_DATA_ROOT', join(dir, 'data'));
  vi.stubEnv('RAFTER_RUN_DIR', join(dir, 'run'));
  vi.stubEnv('RAFTER_CONFIG', '/dev/null');
  vi.stubEnv('DOCKER_CONFIG', join(dir, 'docker'));
  for (const name of ['HOME', 'XDG_RUNTIME_DIR', 'XDG_CONFIG_HOME']) vi.stubEnv(name, dir);
  for (const name of ['docker', 'mnt', 'full', 'empty', 'with-files']) mkdirSync(join(dir, name));
  writeFileSync(join(dir, 'with-files/x'), '');
  writeFileSync(join(dir, 'a-file'), 'not an archive');
  symlinkSync('loop', join(dir, 'loop'));
  writeFileSync(join(dir, 'wrong.yaml'), 'driver: fuse\ncache-sise: 5G\n');
  cpSync(join(golden, 'tiny-nydus'), join(dir, 'damaged'), { recursive: true });
  damageBlobs(join(dir, 'damaged/blobs/sha256'));
  open = await startFakeRegistry();
  page = createServer((_, response) => response.end('<html>hello')).listen(0, '127.0.0.1');
  const closing = createServer().listen(0, '127.0.0.1');
  await Promise.all([page, closing].map((server) => new Promise((done) => server.once('listening', done))));
  pageHost = `127.0.0.1:${(page.address() as AddressInfo).port}`;
  goneHost = `127.0.0.1:${(closing.address() as AddressInfo).port}`;
  await new Promise((done) => closing.close(done));
  if (missingPrograms('docker-registry', 'htpasswd', 'openssl') === undefined) {
    const authority = makeCertificate(dir, 'authority');
    authorityFile = authority.cert;
    secured = await startSecuredRegistry({
      tls: makeCertificate(dir, 'server', authority),
      htpasswd: { user: 'me', password: 'right-one' },
    });
  }
});

afterAll(async () => {
  await secured?.stop();
  await open.stop();
  page.close();
  vi.unstubAllEnvs();
  const left = await cli.remove();
  console.log(shown.join('\n'));
  expect(left).toEqual([]);
});

/** Changes a byte of everything that is no JSON. */
function damageBlobs(folder: string): void {
  for (const name of readdirSync(folder)) {
    const bytes = readFileSync(join(folder, name));
    if (bytes[0] === 0x7b) continue;
    bytes[bytes.length >> 1]! ^= 0xff;
    writeFileSync(join(folder, name), bytes);
  }
}

interface Mistake {
  what: string;
  args: () => string[];
  code: number;
  /** What the line must say besides. */
  says: RegExp;
  hint?: RegExp;
  env?: () => Record<string, string>;
  /** Why it cannot be made here. */
  skip?: () => string | undefined;
}

const needsRoot = () => (isRoot && existsSync('/dev/fuse') ? undefined : 'needs root and /dev/fuse');
const needsSecured = () =>
  secured === undefined ? 'needs docker-registry, htpasswd and openssl' : undefined;
const CONVERT = ['convert', '--no-cache'];

const MISTAKES: Mistake[] = [
  { what: 'mistyped command', args: () => ['conver'], code: 2, says: /conver/, hint: /convert/ },
  {
    what: 'mistyped option',
    args: () => ['convert', '--levl', '3'],
    code: 2,
    says: /--levl/,
    hint: /--level/,
  },
  { what: 'missing argument', args: () => ['mount', lazy], code: 2, says: /dir/, hint: /mount --help/ },
  {
    what: 'value that an option does not take',
    args: () => ['convert', '--level', 'x', plain, lazy],
    code: 2,
    says: /--level.*whole number/,
  },
  {
    what: 'name that is no reference',
    args: () => ['inspect', 'Registry.io/UPPER case'],
    code: 2,
    says: /UPPER/,
  },
  {
    what: 'credentials without a colon',
    args: () => ['inspect', '--creds', 'me', 'h.io/x'],
    code: 2,
    says: /user:password/,
  },
  {
    what: 'chunk size that is no power of two',
    args: () => [...CONVERT, '--chunk-size', '5000', plain, `oci:${dir}/t`],
    code: 2,
    says: /chunk size.*5000/,
  },
  {
    what: 'platform that is none',
    args: () => ['inspect', '--platform', 'windows', `oci:${golden}/tiny-both`],
    code: 2,
    says: /windows/,
  },
  {
    what: 'mistake in the configuration',
    args: () => ['--config', join(dir, 'wrong.yaml'), 'mounts'],
    code: 2,
    says: /wrong\.yaml:2:1: unknown key cache-sise/,
    hint: /cache-size/,
  },
  {
    what: 'configuration that is not there',
    args: () => ['--config', join(dir, 'no.yaml'), 'mounts'],
    code: 3,
    says: /no\.yaml/,
  },
  {
    what: 'directory that is not there',
    args: () => ['inspect', 'oci:/nowhere'],
    code: 3,
    says: /\/nowhere/,
  },
  {
    what: 'directory that is no layout',
    args: () => ['inspect', `oci:${dir}/empty`],
    code: 3,
    says: /empty/,
  },
  {
    what: 'tag that a layout does not have',
    args: () => ['inspect', `${plain}:no-such`],
    code: 3,
    says: /no-such/,
    hint: /latest/,
  },
  {
    what: 'file that is no archive',
    args: () => ['inspect', `oci-archive:${dir}/a-file`],
    code: 5,
    says: /a-file/,
  },
  {
    what: 'archive that is not there',
    args: () => ['copy', `docker-archive:${dir}/no.tar`, `oci:${dir}/t`],
    code: 3,
    says: /no\.tar/,
  },
  {
    what: 'platform that an index does not have',
    args: () => ['inspect', '--platform', 'linux/s390x', `oci:${golden}/tiny-both`],
    code: 3,
    says: /s390x/,
    hint: /linux\/amd64/,
  },
  {
    what: 'tag that a registry does not have',
    args: () => ['inspect', `${open.host}/team/app:no-such`],
    code: 3,
    says: /team\/app.*no-such/,
    hint: /./,
  },
  {
    what: 'registry that is gone',
    args: () => ['inspect', `${goneHost}/x`],
    code: 1,
    says: /127\.0\.0\.1:\d+.*(refused|ECONNREFUSED)/,
    hint: /./,
  },
  {
    what: 'host that does not exist',
    args: () => ['inspect', 'nowhere.invalid/x'],
    code: 1,
    says: /nowhere\.invalid/,
    hint: /./,
  },
  {
    what: 'server that is no registry',
    args: () => ['inspect', `${pageHost}/x`],
    code: 5,
    says: /127\.0\.0\.1/,
  },
  {
    what: 'TLS against HTTP',
    args: () => ['inspect', '--ca', authorityFile, `${open.host}/x`],
    code: 1,
    says: /TLS|HTTP/,
    hint: /plain-http/,
    skip: needsSecured,
  },
  {
    what: 'HTTP against TLS',
    args: () => ['inspect', '--plain-http', `${secured!.host}/x`],
    code: 1,
    says: /HTTP/,
    hint: /plain-http/,
    skip: needsSecured,
  },
  {
    what: 'authority that nobody knows',
    args: () => ['inspect', '--ca', makeCertificate(dir, 'other').cert, `${secured!.host}/x`],
    code: 1,
    says: /certificate/,
    hint: /--ca/,
    skip: needsSecured,
  },
  {
    what: 'no log-in',
    args: () => ['inspect', '--ca', authorityFile, `${secured!.host}/x`],
    code: 4,
    says: /127\.0\.0\.1/,
    hint: /rafter login/,
    skip: needsSecured,
  },
  {
    what: 'wrong password',
    args: () => ['inspect', '--ca', authorityFile, '--creds', 'me:wrong-one', `${secured!.host}/x`],
    code: 4,
    says: /^(?!.*wrong-one)/,
    hint: /./,
    skip: needsSecured,
  },
  {
    what: 'authority file that is not there',
    args: () => ['inspect', '--ca', '/no/ca.pem', 'h.io/x'],
    code: 3,
    says: /\/no\/ca\.pem/,
  },
  {
    what: 'credential helper that is missing',
    args: () => ['inspect', '--ca', authorityFile, `${secured!.host}/x`],
    code: 3,
    says: /docker-credential-nobody/,
    env: () => helperConfig(),
    skip: needsSecured,
  },
  {
    what: 'proxy that is gone',
    args: () => ['inspect', 'h.example.com/x'],
    code: 1,
    says: /proxy/i,
    hint: /./,
    env: () => ({ HTTPS_PROXY: `http://${goneHost}` }),
  },
  {
    what: 'log-in without a terminal',
    args: () => ['login', open.host],
    code: 2,
    says: /terminal/,
    hint: /--password-stdin/,
  },
  {
    what: 'ordinary image mounted',
    args: () => ['mount', plain, join(dir, 'mnt')],
    code: 6,
    says: /tiny-src/,
    hint: /rafter convert/,
    skip: needsRoot,
  },
  {
    what: 'ordinary image listed',
    args: () => ['ls', plain],
    code: 6,
    says: /tiny-src/,
    hint: /rafter convert/,
  },
  {
    what: 'ordinary image as chunk dictionary',
    args: () => [...CONVERT, '--chunk-dict', plain, plain, `oci:${dir}/t`],
    code: 6,
    says: /tiny-src/,
  },
  {
    what: 'mount point that is not there',
    args: () => ['mount', lazy, join(dir, 'no-dir')],
    code: 3,
    says: /no-dir/,
    hint: /mkdir/,
    skip: needsRoot,
  },
  {
    what: 'mount point that is a file',
    args: () => ['mount', lazy, join(dir, 'a-file')],
    code: 2,
    says: /a-file/,
    skip: needsRoot,
  },
  { what: 'unmounting what is not mounted', args: () => ['umount', join(dir, 'mnt')], code: 3, says: /mnt/ },
  {
    what: 'no daemon',
    args: () => ['daemon', 'status', '--run-dir', join(dir, 'other-run')],
    code: 3,
    says: /other-run/,
  },
  {
    what: 'run directory that others can write to',
    args: () => ['mount', lazy, join(dir, 'mnt'), '--run-dir', writableByAll()],
    code: 4,
    says: /others can write to .*by-all \(mode 777\)/,
    hint: /--run-dir/,
  },
  {
    what: 'run directory with a long path',
    args: () => ['mounts', '--run-dir', `/${'long/'.repeat(30)}`],
    code: 2,
    says: /too long/,
    hint: /--run-dir/,
  },
  {
    what: 'file that an image does not have',
    args: () => ['cat', lazy, '/no/such'],
    code: 3,
    says: /\/no\/such/,
  },
  { what: 'directory printed', args: () => ['cat', lazy, '/'], code: 1, says: /not a regular file/ },
  {
    what: 'directory with files as target',
    args: () => ['unpack', lazy, join(dir, 'with-files')],
    code: 2,
    says: /with-files/,
    skip: needsRoot,
  },
  {
    what: 'damaged image',
    args: () => ['export', `oci:${dir}/damaged`, `oci:${dir}/t`],
    code: 5,
    says: /damaged/,
  },
  {
    what: 'target where nothing can be written',
    args: () => [...CONVERT, plain, 'oci:/sys/rafter'],
    code: 4,
    says: /\/sys\//,
  },
  {
    what: 'deleting without saying what',
    args: () => ['delete', `${open.host}/x`],
    code: 2,
    says: /tag or digest/,
  },
  { what: 'deleting from a directory', args: () => ['delete', plain], code: 2, says: /registr/ },
  {
    what: 'trace that is not there',
    args: () => ['optimize', lazy, `oci:${dir}/t`, '--trace', '/no/trace'],
    code: 3,
    says: /\/no\/trace/,
  },
  {
    what: 'file to write in a directory that is not there',
    args: () => ['trace', 'merge', '-o', join(dir, 'none/out'), traceFile()],
    code: 3,
    says: /none\/out: there is no directory .*none$/,
    hint: /mkdir -p .*none$/,
  },
  {
    what: 'data root that others can write to',
    args: () => [
      'mount',
      lazy,
      join(dir, 'mnt'),
      '--data-root',
      writableByAll(),
      '--run-dir',
      join(dir, 'run3'),
    ],
    code: 1,
    says: /exit code 4: others can write to .*by-all \(mode 777\)/,
    hint: /daemon\.log/,
    skip: needsRoot,
  },
  {
    what: 'layout to write that is a file',
    args: () => [...CONVERT, plain, `oci:${dir}/a-file`],
    code: 2,
    says: /a-file: not a directory$/,
    hint: /oci-archive:/,
  },
  {
    what: 'layout to write below a file',
    args: () => ['copy', plain, `oci:${dir}/a-file/x`],
    code: 1,
    says: /a-file\/x: something in this path is not a directory/,
  },
  {
    what: 'archive to write in a directory that is not there',
    args: () => ['copy', plain, `oci-archive:${dir}/none/x.tar`],
    code: 3,
    says: /none: no such directory/,
    hint: /mkdir -p/,
  },
  {
    what: 'archive that is a link to itself',
    args: () => ['inspect', `oci-archive:${dir}/loop`],
    code: 1,
    says: /loop: symbolic links lead around in a circle \(ELOOP\)/,
  },
  {
    what: 'mount point that is a link to itself',
    args: () => ['mount', lazy, join(dir, 'loop')],
    code: 1,
    says: /loop: symbolic links lead around/,
    skip: needsRoot,
  },
  {
    what: 'configuration that is a directory',
    args: () => ['--config', join(dir, 'empty'), 'mounts'],
    code: 2,
    says: /empty: a directory/,
  },
  {
    what: 'configuration without end',
    args: () => ['--config', '/dev/zero', 'mounts'],
    code: 5,
    says: /\/dev\/zero: more than 65536 bytes/,
  },
  {
    what: 'run directory that is a file',
    args: () => ['mount', lazy, join(dir, 'mnt'), '--run-dir', join(dir, 'a-file')],
    code: 1,
    says: /a-file: something else is there already \(EEXIST\)/,
    hint: /--run-dir/,
  },
  {
    what: 'run directory where none can be made',
    args: () => ['mount', lazy, join(dir, 'mnt'), '--run-dir', '/proc/none/run'],
    code: 1,
    says: /\/proc\/none\/run: no such file or directory/,
    hint: /--run-dir/,
  },
  {
    what: 'upper directory where none can be made',
    args: () => ['mount', lazy, join(dir, 'mnt'), '--upper', '/proc/none/upper'],
    code: 2,
    says: /\/proc\/none\/upper: no such file or directory/,
    hint: /--upper/,
    skip: needsRoot,
  },
  {
    what: 'trace that is none',
    args: () => ['trace', 'show', join(dir, 'a-file')],
    code: 5,
    says: /a-file, line 1: not JSON/,
  },
  {
    what: 'trace to write where a directory is',
    args: () => ['mount', lazy, join(dir, 'mnt'), '--trace', join(dir, 'empty')],
    code: 2,
    says: /empty: it is a directory/,
    hint: /--trace/,
  },
  {
    what: 'directory to unpack into in one that is not there',
    args: () => ['unpack', lazy, join(dir, 'none/tree')],
    code: 1,
    says: /none: no such file or directory \(ENOENT\)/,
    skip: needsRoot,
  },
  {
    what: 'seccomp profile that is a directory',
    args: () => ['run', '--security-opt', `seccomp=${dir}/empty`, lazy, '--', 'true'],
    code: 125,
    says: /seccomp profile .*empty: it is a directory/,
    skip: () => needsRoot() ?? missingPrograms('runc'),
  },
  {
    what: 'data root that is a file',
    args: () => [
      'mount',
      lazy,
      join(dir, 'mnt'),
      '--data-root',
      join(dir, 'a-file'),
      '--run-dir',
      join(dir, 'run2'),
    ],
    code: 1,
    says: /exit code 1: cannot make the directory .*a-file/,
    hint: /daemon\.log/,
    skip: needsRoot,
  },
];

function helperConfig(): Record<string, string> {
  const folder = join(dir, 'helper');
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), '{"credsStore":"nobody"}');
  return { DOCKER_CONFIG: folder };
}

function traceFile(): string {
  const path = join(dir, 'trace');
  writeFileSync(path, formatTrace(traceOf([touchOf(0, 1)])));
  return path;
}

function writableByAll(): string {
  const path = join(dir, 'by-all');
  mkdirSync(path, { recursive: true });
  chmodSync(path, 0o777);
  return path;
}

/** What every error looks like: one line, perhaps warnings before it, and a hint. */
function judge(mistake: Pick<Mistake, 'what' | 'says' | 'hint'>, stderr: string): void {
  const lines = stderr
    .trimEnd()
    .split('\n')
    .filter((line) => !line.startsWith('warning: '));
  shown.push(`${mistake.what}\n  ${lines.join('\n  ')}`);
  expect(lines[0]).toMatch(/^rafter: \S/);
  expect(lines[0]).toMatch(mistake.says);
  expect(lines, stderr).toHaveLength(2);
  expect(lines[1]).toMatch(/^hint: \S/);
  if (mistake.hint !== undefined) expect(lines[1]).toMatch(mistake.hint);
  expect(stderr).not.toMatch(/undefined|\[object| {4}at /);
}

for (const mistake of MISTAKES)
  it(mistake.what, async (ctx: TestContext) => {
    const reason = mistake.skip?.();
    if (reason !== undefined) ctx.skip(reason);
    // `--config` sets it for the daemons that a command starts.
    vi.stubEnv('RAFTER_CONFIG', '/dev/null');
    const env = Object.entries(mistake.env?.() ?? {});
    const before = env.map(([name]) => [name, process.env[name]] as const);
    for (const [name, value] of env) vi.stubEnv(name, value);
    try {
      const { code, stderr } = await runInProcess(mistake.args());
      judge(mistake, stderr);
      expect(code, stderr).toBe(mistake.code);
    } finally {
      for (const [name, value] of before) vi.stubEnv(name, value);
    }
  });
