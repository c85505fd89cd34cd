import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { findLogin } from '../../src/registry/auth-file.js';
import { credentialLookup } from '../../src/registry/credentials.js';

let directory: string;
let savedPath: string | undefined;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-auth-'));
  savedPath = process.env.PATH;
  process.env.PATH = `${directory}:${savedPath}`;
});
afterEach(() => {
  process.env.PATH = savedPath;
  rmSync(directory, { recursive: true, force: true });
});

const base64 = (text: string) => Buffer.from(text).toString('base64');
const entry = (user: string) => ({ auth: base64(`${user}:pw-of-${user}`) });
const login = (user: string) => ({ kind: 'password', username: user, password: `pw-of-${user}` });

function write(name: string, content: unknown): string {
  const path = join(directory, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

/** A credential helper that is a shell script; `$server` is what it was asked for. */
function helper(name: string, script: string): void {
  const path = write(
    `docker-credential-${name}`,
    `#!/bin/sh\n[ "$1" = get ] || exit 9\nread -r server\n${script}\n`,
  );
  chmodSync(path, 0o755);
}

describe('a file', () => {
  it.each([
    ['the host', 'h.io', { 'h.io': entry('a') }, 'a'],
    ['the host with a port', 'h.io:5000', { 'h.io:5000': entry('a'), 'h.io': entry('b') }, 'a'],
    ['a URL', 'h.io', { 'https://h.io/v2/': entry('a') }, 'a'],
    ['an older URL', 'h.io', { 'https://h.io/v1/': entry('a') }, 'a'],
    [
      'the longest part of the name',
      'h.io',
      { 'h.io': entry('a'), 'h.io/team': entry('b'), 'h.io/team/app': entry('c') },
      'c',
    ],
    ['a namespace', 'h.io', { 'h.io': entry('a'), 'h.io/team': entry('b'), 'h.io/team/ap': entry('c') }, 'b'],
    ['Docker Hub', 'registry-1.docker.io', { 'https://index.docker.io/v1/': entry('a') }, 'a'],
    ['Docker Hub by its short name', 'registry-1.docker.io', { 'docker.io': entry('a') }, 'a'],
  ])('names %s', async (_, registry, auths, user) => {
    expect(await findLogin(write('c.json', { auths }), registry, 'team/app')).toEqual(login(user));
  });

  it('has passwords with anything in them, members apart, and tokens', async () => {
    const json = '{"type": "service_account",\n"key": "a:b"}\n';
    const auths = {
      'a.io': { auth: base64('u:p:w:d') },
      'b.io': { username: 'u', password: 'p' },
      'c.io': { auth: base64('u:p'), identitytoken: 'idt' },
      'd.io': { registrytoken: 'rt' },
      'e.io': { auth: `${base64('u:p\0\0')}` },
      'f.io': {},
      'g.io': { auth: base64(`_json_key:${json}`) },
      'h.io': { auth: base64('robot$project+name:$HOME`id`') },
    };
    const path = write('c.json', { auths });
    expect(await findLogin(path, 'a.io', 'x')).toMatchObject({ username: 'u', password: 'p:w:d' });
    expect(await findLogin(path, 'b.io', 'x')).toMatchObject({ username: 'u', password: 'p' });
    expect(await findLogin(path, 'c.io', 'x')).toEqual({ kind: 'identity-token', token: 'idt' });
    expect(await findLogin(path, 'd.io', 'x')).toEqual({ kind: 'registry-token', token: 'rt' });
    expect(await findLogin(path, 'e.io', 'x')).toMatchObject({ password: 'p' });
    expect(await findLogin(path, 'f.io', 'x')).toBeUndefined();
    expect(await findLogin(path, 'g.io', 'x')).toMatchObject({ username: '_json_key', password: json });
    expect(await findLogin(path, 'h.io', 'x')).toMatchObject({
      username: 'robot$project+name',
      password: '$HOME`id`',
    });
    expect(await findLogin(path, 'unknown.io', 'x')).toBeUndefined();
    expect(await findLogin(join(directory, 'none.json'), 'a.io', 'x')).toBeUndefined();
  });

  it.each([
    ['{"auths": s3cret', 'not JSON'],
    [{ auths: { 'h.io': { auth: 5 } } }, 'auths.h.io.auth'],
    [{ auths: { 'h.io': { auth: base64('s3cret') } } }, 'is not USER:PASSWORD'],
    [5, 'the whole'],
  ])('is named when it is wrong, its content is not shown: %j', async (content, message) => {
    const path = write('c.json', content);
    const error = await findLogin(path, 'h.io', 'x').catch((caught: Error) => caught);
    expect(error).toMatchObject({ code: 'MALFORMED', message: expect.stringContaining(message) });
    expect(String(error)).toContain(path);
    expect(String(error)).not.toMatch(/s3cret|czNjcmV0/);
  });
});

describe('a credential helper', () => {
  it('is asked on its standard input, and its answer comes before the file', async () => {
    helper('mine', `printf '{"ServerURL":"%s","Username":"u-%s","Secret":"s"}' "$server" "$server"`);
    const path = write('c.json', { credHelpers: { 'h.io': 'mine' }, auths: { 'h.io': entry('a') } });
    expect(await findLogin(path, 'h.io', 'x')).toEqual({
      kind: 'password',
      username: 'u-h.io',
      password: 's',
    });
  });

  it('may be the store for all, and is asked for Docker Hub by its old URL', async () => {
    helper('store', `printf '{"Username":"%s","Secret":"s"}' "$server"`);
    const path = write('c.json', { credsStore: 'store' });
    expect(await findLogin(path, 'h.io', 'x')).toMatchObject({ username: 'h.io' });
    expect(await findLogin(path, 'registry-1.docker.io', 'x')).toMatchObject({
      username: 'https://index.docker.io/v1/',
    });
  });

  it('gives identity tokens under a user name that says so', async () => {
    helper('t', `printf '{"Username":"<token>","Secret":"idt"}'`);
    const path = write('c.json', { credsStore: 't' });
    expect(await findLogin(path, 'h.io', 'x')).toEqual({ kind: 'identity-token', token: 'idt' });
  });

  it('that has nothing leads on to the file', async () => {
    helper('none', `echo 'credentials not found in native keychain'; exit 1`);
    const path = write('c.json', { credsStore: 'none', auths: { 'h.io': entry('a') } });
    expect(await findLogin(path, 'h.io', 'x')).toEqual(login('a'));
  });

  it.each([
    ['fails', 'echo s3cret; echo s3cret >&2; exit 1', 'FAILED', 'exit status 1'],
    ['talks nonsense', 'echo s3cret', 'MALFORMED', 'not what a helper should print'],
    ['answers without a secret', `echo '{"Username":"s3cret"}'`, 'MALFORMED', 'not what a helper'],
    ['never stops talking', 'yes s3cret', 'FAILED', 'exit status none'],
  ])('that %s is an error without its output', async (_, script, code, message) => {
    helper('bad', script);
    const path = write('c.json', { credsStore: 'bad' });
    const error = await findLogin(path, 'h.io', 'x').catch((caught: Error) => caught);
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) });
    expect(JSON.stringify(error) + String(error)).not.toContain('s3cret');
  });

  it('that is missing, or has a path for a name, is an error', async () => {
    const missing = write('c.json', { credHelpers: { 'h.io': 'not-there' } });
    await expect(findLogin(missing, 'h.io', 'x')).rejects.toMatchObject({
      code: 'NOT_FOUND',
      message: expect.stringContaining('docker-credential-not-there'),
    });
    const odd = write('c.json', { credHelpers: { 'h.io': '../../bin/sh' } });
    await expect(findLogin(odd, 'h.io', 'x')).rejects.toMatchObject({ code: 'MALFORMED' });
  });
});

describe('the chain', () => {
  const look = (env: NodeJS.ProcessEnv, options = {}, registry = 'h.io') =>
    credentialLookup(registry, 'team/app', { ...options, env: { HOME: directory, ...env } })();

  it('goes from options to environment to Docker to containers', async () => {
    expect(await look({})).toBeUndefined();
    write('.config/containers/auth.json', { auths: { 'h.io': entry('home') } });
    expect(await look({})).toEqual(login('home'));
    write('run/containers/auth.json', { auths: { 'h.io': entry('run') } });
    const env: NodeJS.ProcessEnv = { XDG_RUNTIME_DIR: join(directory, 'run') };
    expect(await look(env)).toEqual(login('run'));
    env.REGISTRY_AUTH_FILE = write('own.json', { auths: { 'h.io': entry('own') } });
    expect(await look(env)).toEqual(login('own'));
    write('.docker/config.json', { auths: { 'h.io': entry('docker') } });
    expect(await look(env)).toEqual(login('docker'));
    write('elsewhere/config.json', { auths: { 'h.io': entry('elsewhere') } });
    env.DOCKER_CONFIG = join(directory, 'elsewhere');
    expect(await look(env)).toEqual(login('elsewhere'));
    env.DOCKER_AUTH_CONFIG = JSON.stringify({ auths: { 'h.io': entry('text') } });
    expect(await look(env)).toEqual(login('text'));
    expect(await look(env, {}, 'other.io')).toBeUndefined();
    delete env.DOCKER_AUTH_CONFIG;
    const dockerConfig = write('given.json', { auths: { 'h.io': entry('given') } });
    expect(await look(env, { dockerConfig })).toEqual(login('given'));
    Object.assign(env, { RAFTER_REGISTRY: 'h.io', RAFTER_USERNAME: 'env', RAFTER_PASSWORD: 'pw-of-env' });
    expect(await look(env)).toEqual(login('env'));
    expect(await look(env, { credentials: { username: 'x', password: 'pw-of-x' } })).toEqual(login('x'));
  });

  it('names the variable whose text is wrong, not the text', async () => {
    await expect(look({ DOCKER_AUTH_CONFIG: '{"auths": s3cret' })).rejects.toThrow(
      'DOCKER_AUTH_CONFIG: not JSON',
    );
  });

  it('gives the password of the environment to no other registry', async () => {
    const env = { RAFTER_USERNAME: 'u', RAFTER_PASSWORD: 'p' };
    expect(await look(env)).toBeUndefined();
    expect(await look({ ...env, RAFTER_REGISTRY: 'other.io' })).toBeUndefined();
    expect(await look({ ...env, RAFTER_REGISTRY: 'docker.io' }, {}, 'registry-1.docker.io')).toMatchObject({
      username: 'u',
    });
  });
});
