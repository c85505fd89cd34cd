import { execFileSync, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import { LayoutTarget } from '../../src/image/layout-target.js';
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
  const command = `while [ ! -e ${go} ]; do sleep 0.05; done; ${process.execPath} ${rafter} ${args}; echo "ended with $?"; exec cat`;
  tmux('new-session', '-d', '-s', name, '-x', '100', '-y', '24', '-c', dir, `sh -c '${command}'`);
  tmux('pipe-pane', '-t', name, '-o', `cat > ${join(dir, `${name}.output`)}`);
  writeFileSync(go, '');
}

const screen = (name: string) => tmux('capture-pane', '-p', '-t', name);
const output = (name: string) => readFileSync(join(dir, `${name}.output`), 'utf8');
const waiting = { timeout: 60_000, interval: 100 };
const data = `--data-root ${join(dir, 'data')} --no-cache`;

it('draws bars with bytes and rate while it converts, and leaves lines behind that end', async (ctx) => {
  const missing = missingPrograms('tmux');
  if (missing !== undefined) ctx.skip(missing);
  startInTerminal('convert', `convert ${data} oci:images:plain oci:images:lazy`);
  await vi.waitFor(() => expect(screen('convert')).toContain('ended with 0'), waiting);
  expect(output('convert')).toMatch(/layer \d of 3 {2}[\d.]+ [kM]?B {2}[\d.]+ [kM]?B\/s/);
  const lines = screen('convert')
    .split('\n')
    .filter((line) => line !== '');
  expect(lines.slice(0, 3)).toEqual(
    [1, 2, 3].map((layer) => expect.stringMatching(new RegExp(`^layer ${layer} of 3: 10\\.0 MB in `))),
  );
  expect(lines.at(-2)).toMatch(/^converted in .* became /);
});

it.each([
  `ls -R oci:${golden}/tiny-nydus`,
  `inspect oci:${golden}/tiny-nydus`,
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
  expect(bad).toMatchObject({ status: 3, stdout: '', stderr: 'rafter: /nowhere: no such directory\n' });
  const env = { ...process.env, FORCE_COLOR: '1' };
  const coloured = spawnSync(process.execPath, [rafter, 'inspect', 'oci:/nowhere'], {
    encoding: 'utf8',
    env,
  });
  expect(coloured.stderr).toBe('\x1b[31mrafter:\x1b[39m /nowhere: no such directory\n');
});
