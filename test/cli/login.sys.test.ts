import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { runCommandLine } from '../../src/cli/program.js';
import { findLogin } from '../../src/registry/auth-file.js';
import { missingPrograms } from '../support/programs.js';
import { startSecuredRegistry } from '../support/secured-registry.js';

const missing = missingPrograms('docker-registry', 'htpasswd');
const rafter = resolve(import.meta.dirname, '../../bin/rafter');
const password = 'open:sesame s3cret';
let registry: { host: string; stop(): Promise<void> };
let directory: string;
let config: string;

beforeAll(async () => {
  if (missing === undefined) registry = await startSecuredRegistry({ htpasswd: { user: 'anna', password } });
});
afterAll(() => registry?.stop());
beforeEach((context) => {
  if (missing !== undefined) context.skip(missing);
  directory = mkdtempSync(join(tmpdir(), 'rafter-login-'));
  config = join(directory, 'config.json');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function run(args: string[], input = '') {
  const child = spawn(process.execPath, [rafter, ...args], {
    env: { ...process.env, DOCKER_CONFIG: directory },
  });
  let output = '';
  child.stdout.on('data', (piece: Buffer) => (output += piece.toString()));
  child.stderr.on('data', (piece: Buffer) => (output += piece.toString()));
  // It may have ended without reading.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const [code] = (await once(child, 'close')) as [number];
  return { code, output };
}
const login = (...more: string[]) =>
  run(['login', '-u', 'anna', '--password-stdin', registry.host, ...more], `${password}\n`);
const readConfig = () => JSON.parse(readFileSync(config, 'utf8'));
const basic = (text: string) => Buffer.from(text).toString('base64');

it('checks the password, then keeps it where docker does, beside what is there', async () => {
  writeFileSync(config, '{"detachKeys":"ctrl-e","auths":{"other.io":{"auth":"eDp5","x":1}}}', {
    mode: 0o644,
  });
  const result = await login();
  expect(result).toMatchObject({ code: 0, output: expect.stringContaining('as anna') });
  expect(result.output).toContain('unencrypted');
  expect(result.output).not.toContain('s3cret');
  expect(readConfig()).toEqual({
    detachKeys: 'ctrl-e',
    auths: { 'other.io': { auth: 'eDp5', x: 1 }, [registry.host]: { auth: basic(`anna:${password}`) } },
  });
  expect(statSync(config).mode & 0o777).toBe(0o600);
  expect(readdirSync(directory)).toEqual(['config.json']);
  expect(await findLogin(config, registry.host, 'team/app')).toMatchObject({ username: 'anna', password });

  expect(await run(['logout', registry.host])).toMatchObject({ code: 0 });
  expect(readConfig()).toEqual({ detachKeys: 'ctrl-e', auths: { 'other.io': { auth: 'eDp5', x: 1 } } });
});

it('keeps nothing when the password is wrong, and does not show it', async () => {
  const args = ['login', '-u', 'anna', '--password-stdin', registry.host, '--debug'];
  const { code, output } = await run(args, 'wrong s3cret');
  expect(code).toBe(4);
  expect(output).toContain('refused');
  expect(output).not.toContain('s3cret');
  expect(existsSync(config)).toBe(false);
});

it('asks on a terminal and does not show what is typed as the password', async (context) => {
  const noScript = missingPrograms('script');
  if (noScript !== undefined) context.skip(noScript);
  const command = `${process.execPath} ${rafter} login ${registry.host}`;
  const child = spawn('script', ['-qefc', command, '/dev/null'], {
    env: { ...process.env, DOCKER_CONFIG: directory },
  });
  let output = '';
  child.stdout.on('data', (piece: Buffer) => {
    output += piece.toString();
  });
  const shown = (text: string) => vi.waitFor(() => expect(output).toContain(text), { timeout: 30_000 });
  await shown('user name');
  child.stdin.write('annx\u007fa\r');
  await shown('password: ');
  child.stdin.write(`${password}\r`);
  const ended = once(child, 'close');
  await shown('logged in');
  expect(await ended).toEqual([0, null]);
  expect(output).not.toContain('s3cret');
  expect(readConfig().auths[registry.host].auth).toBe(basic(`anna:${password}`));
});

it.each([
  [['login', 'h.io/team'], 'is not a registry'],
  [['login', 'h.io'], 'no terminal'],
  [['login', '--password-stdin', 'h.io'], '--username'],
  [['login', '-u', 'a:b', '--password-stdin', 'h.io'], 'colon'],
  [['login', '-u', 'a', '-p', 'b', '--password-stdin', 'h.io'], 'twice'],
])('%j is used wrongly', async (args, message) => {
  const written = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  try {
    expect(await runCommandLine(args)).toBe(2);
    expect(written.mock.calls.join('')).toContain(message);
  } finally {
    written.mockRestore();
  }
});

it('Ctrl-C ends a command whose credential helper does not answer, without waiting for that', async () => {
  const [started, helper] = ['pid', 'docker-credential-mute'].map((name) => join(directory, name));
  writeFileSync(helper!, `#!/bin/sh\necho $$ > ${started}\nexec sleep 300\n`, { mode: 0o755 });
  writeFileSync(config, '{"credsStore":"mute"}');
  const env = { ...process.env, DOCKER_CONFIG: directory, PATH: `${directory}:${process.env.PATH}` };
  const child = spawn(process.execPath, [rafter, 'inspect', `${registry.host}/team/app:1`], { env });
  const ended = once(child, 'close');
  const pidOf = () => Number(readFileSync(started!, 'utf8'));
  await vi.waitFor(() => expect(pidOf()).toBeGreaterThan(0), { timeout: 30_000 });
  child.kill('SIGINT');
  // Not by itself, when the helper has had its time.
  expect(await ended).toEqual([null, 'SIGINT']);
  process.kill(pidOf(), 'SIGKILL');
});

it('warns of a password on the command line', async () => {
  const { code, output } = await run(['login', '-u', 'anna', '-p', password, registry.host]);
  expect(code).toBe(0);
  expect(output).toContain('--password-stdin');
  expect(output).not.toContain('s3cret');
});
