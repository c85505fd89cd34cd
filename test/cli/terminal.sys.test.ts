import { execFileSync, spawnSync } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { storeImage } from '../support/layout-image.js';
import { missingPrograms } from '../support/programs.js';

const rafter = resolve(import.meta.dirname, '../../bin/rafter');
const golden = resolve(import.meta.dirname, '../../fixtures/golden/oci');
const dir = mkdtempSync(join(tmpdir(), 'rafter-terminal-'));
const session = `rafter-${process.pid}`;
const tmux = (...args: string[]) =>
  execFileSync('tmux', ['-L', session, '-f', '/dev/null', ...args], { encoding: 'utf8' });

beforeAll(async () => {
  const target = new LayoutTarget({ transport: 'oci', path: join(dir, 'images'), tag: 'plain' });
  const files = Object.fromEntries(['one', 'two', 'three'].map((name) => [name, randomBytes(10_000_000)]));
  await storeImage(target, files, { tag: true });
  await target.commit();
});
afterAll(() => {
  if (missingPrograms('tmux') === undefined) spawnSync('tmux', ['-L', session, 'kill-server']);
  rmSync(dir, { recursive: true, force: true });
});

/** Starts `rafter ARGS` in a terminal of 100 by 24; what appears there from the first byte on is in the file `output`. */
function startInTerminal(name: string, args: string): void {
  const go = join(dir, `${name}.go`);
  const command = `trap : INT; while [ ! -e ${go} ]; do sleep 0.05; done; ${process.execPath} ${rafter} ${args}; echo "ended with $?"; exec cat`;
  tmux('new-session', '-d', '-s', name, '-x', '100', '-y', '24', '-c', dir, `sh -c '${command}'`);
  tmux('pipe-pane', '-t', name, '-o', `cat > ${join(dir, `${name}.output`)}`);
  writeFileSync(go, '');
}

const screen = (name: string) => tmux('capture-pane', '-p', '-t', name);
const output = (name: string) => readFileSync(join(dir, `${name}.output`), 'utf8');
const waiting = { timeout: 60_000, interval: 100 };
const data = `--data-root ${join(dir, 'data')} --no-cache`;

/** Label, bar, bytes, total, rate and time left. */
const BAR = (label: string) =>
  new RegExp(`${label}  \\[#*-*\\] [\\d.]+ [kM]?B of [\\d.]+ [kM]?B  [\\d.]+ [kM]?B/s  [\\d.]+ \\w+ left`);

it('draws bars with bytes, total, rate and time left while it converts, and leaves lines behind that end', async (ctx) => {
  const missing = missingPrograms('tmux');
  if (missing !== undefined) ctx.skip(missing);
  startInTerminal('convert', `convert ${data} oci:images:plain oci:images:lazy`);
  await vi.waitFor(() => expect(screen('convert')).toContain('ended with 0'), waiting);
  expect(output('convert')).toMatch(BAR('layer \\d of 3'));
  const lines = screen('convert')
    .split('\n')
    .filter((line) => line !== '');
  expect(lines.slice(0, 3)).toEqual(
    [1, 2, 3].map((layer) => expect.stringMatching(new RegExp(`^layer ${layer} of 3: 10\\.0 MB in `))),
  );
  expect(lines.at(-2)).toMatch(/^converted in .* became /);

  startInTerminal('check', 'check oci:images:lazy');
  await vi.waitFor(() => expect(screen('check')).toContain('ended with 0'), waiting);
  expect(output('check')).toMatch(BAR('reading'));
  expect(screen('check').trimEnd()).toMatch(/^oci:images:lazy: good \(.*\)\nended with 0$/);
});

describe('Ctrl-C in a terminal', () => {
  /** A registry that gives half of every large blob and then nothing more; how often it has come so far. */
  let stalls = 0;
  const blob = randomBytes(8_000_000);
  const digestOf = (bytes: Buffer | string) => `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  const config = JSON.stringify({
    os: 'linux',
    architecture: 'amd64',
    config: {},
    rootfs: { type: 'layers', diff_ids: [digestOf(blob)] },
  });
  const descriptor = (mediaType: string, bytes: Buffer | string) => ({
    mediaType: `application/vnd.oci.image.${mediaType}`,
    digest: digestOf(bytes),
    size: bytes.length,
  });
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: descriptor('config.v1+json', config),
    layers: [descriptor('layer.v1.tar', blob)],
  });
  const server = createServer(({ url = '', method }, response) => {
    if (url.endsWith(digestOf(config))) return response.end(config);
    if (url.endsWith(digestOf(blob))) {
      response.writeHead(200, { 'content-length': blob.length });
      if (method !== 'HEAD') response.write(blob.subarray(0, blob.length / 2), () => stalls++);
      return method === 'HEAD' ? response.end() : response;
    }
    response.setHeader('content-type', 'application/vnd.oci.image.manifest.v1+json');
    return response.end(url.includes('/manifests/') ? manifest : '{}');
  });
  let host: string;
  beforeEach((ctx) => {
    const missing = missingPrograms('tmux');
    if (missing !== undefined) ctx.skip(missing);
  });
  beforeAll(async () => {
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  it.each([
    ['conversion', `convert ${data}`],
    ['pull', 'copy'],
  ])('ends a %s at once, says so and leaves nothing', async (name, command) => {
    const [place, before] = [join(dir, `stopped-${name}`), stalls];
    mkdirSync(place);
    startInTerminal(name, `${command} ${host}/x oci:${place}/image`);
    await vi.waitFor(() => expect(stalls).toBeGreaterThan(before), waiting);
    tmux('send-keys', '-t', `=${name}:`, 'C-c');
    await vi.waitFor(() => expect(screen(name)).toContain('ended with 130'), waiting);
    // Lines that the terminal wrapped are put together again.
    expect(tmux('capture-pane', '-p', '-J', '-t', name)).toMatch(/^rafter: .*interrupted *$/m);
    expect(screen(name)).not.toContain('[#');
    expect(readdirSync(place)).toEqual([]);
  });

  it('reaches the container of a run once, and leaves no mount, process or file of it', async (ctx) => {
    const missing = missingPrograms('runc') ?? (process.geteuid?.() === 0 ? undefined : 'needs root');
    if (missing !== undefined) ctx.skip(missing);
    const places = `--run-dir ${dir}/run --data-root ${dir}/data`;
    const volumes = ['/bin', '/lib', '/lib64', '/usr']
      .filter((path) => existsSync(path))
      .map((path) => `-v ${path}:${path}:ro`)
      .join(' ');
    writeFileSync(
      join(dir, 'wait.sh'),
      'trap "echo heard; exit 7" INT\necho up\nwhile :; do sleep 0.05; done\n',
    );
    try {
      startInTerminal(
        'run',
        `run -t ${places} ${volumes} -v ${dir}/wait.sh:/wait.sh --entrypoint /bin/sh oci:${golden}/tiny-nydus /wait.sh`,
      );
      await vi.waitFor(() => expect(screen('run')).toContain('up'), waiting);
      tmux('send-keys', '-t', '=run:', 'C-c');
      await vi.waitFor(() => expect(screen('run')).toContain('ended with 7'), waiting);
      expect(screen('run').match(/heard/g)).toHaveLength(1);
      expect(readdirSync(join(dir, 'data/containers'))).toEqual([]);
      expect(readdirSync(join(dir, 'run/images'))).toEqual([]);
      expect(readFileSync('/proc/self/mountinfo', 'utf8')).not.toContain(`${dir}/data/containers`);
    } finally {
      spawnSync(process.execPath, [rafter, 'daemon', 'stop', '--run-dir', join(dir, 'run')]);
    }
  });
});

it.each([
  `ls -R oci:${golden}/tiny-nydus`,
  `inspect oci:${golden}/tiny-nydus`,
  `diff oci:${golden}/tiny-nydus oci:${golden}/tiny-batch`,
  'convert --help',
  'completion zsh',
])('ends quietly when nobody reads on: rafter %s | true', (args) => {
  const command = `${process.execPath} ${rafter} ${args} | head -c 1 >/dev/null; echo "\${PIPESTATUS[0]}"`;
  const { stdout, stderr } = spawnSync('bash', ['-c', command], { encoding: 'utf8' });
  expect({ stdout, stderr }).toEqual({ stdout: '0\n', stderr: '' });
});

it('has results on stdout only, and no colours where there is no terminal', () => {
  const args = ['inspect', `oci:${golden}/tiny-nydus`];
  const good = spawnSync(process.execPath, [rafter, ...args], { encoding: 'utf8' });
  expect(good.stderr).toBe('');
  expect(good.stdout).not.toContain('\x1b');
  const bad = spawnSync(process.execPath, [rafter, 'inspect', 'oci:/nowhere'], { encoding: 'utf8' });
  const hint = 'an OCI layout is written oci:DIR[:TAG]';
  const stderr = `rafter: /nowhere: no such directory\nhint: ${hint}\n`;
  expect(bad).toMatchObject({ status: 3, stdout: '', stderr });
  const env = { ...process.env, FORCE_COLOR: '1' };
  const coloured = spawnSync(process.execPath, [rafter, 'inspect', 'oci:/nowhere'], {
    encoding: 'utf8',
    env,
  });
  expect(coloured.stderr).toBe(
    `\x1b[31mrafter:\x1b[39m /nowhere: no such directory\n\x1b[36mhint:\x1b[39m ${hint}\n`,
  );
});
