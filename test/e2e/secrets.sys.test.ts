import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { createServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { runCommandLine } from '../../src/cli/program.js';
import { LayoutSource } from '../../src/image/layout/layout-source.js';
import { parseReference } from '../../src/image/reference.js';
import { mountImage, shutdownDaemon } from '../../src/mount/client/client.js';
import { copyImage } from '../../src/transports/copy.js';
import { openTarget } from '../../src/transports/open.js';
import { allText, createPlace, type TestPlace } from '../mount/daemon-process.js';
import { writeGoldenLayout } from '../mount/layouts.js';
import { goldenTree } from '../rafs/golden.js';
import { makeCertificate } from '../support/certificates.js';
import { type FakeRegistry, startFakeRegistry } from '../support/fake-registry.js';
import { missingPrograms } from '../support/programs.js';
import { startProxyServer } from '../support/proxy-server.js';

/*
 * Secrets that are marked go through every path of the program while servers repeat what they were sent in their answers, as
 * careless ones do. They must be found in no output, no log and no file. Each case has secrets of its own: one that is known
 * to this process is hidden everywhere.
 */

const always = Number.POSITIVE_INFINITY;
let directory: string;
let registry: FakeRegistry;
let secrets: string[];
let counter = 0;
const cleanups: (() => unknown)[] = [];

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-secrets-'));
  registry = await startFakeRegistry();
  secrets = [];
  for (const [name, value] of Object.entries({ DOCKER_CONFIG: directory, HOME: directory })) {
    vi.stubEnv(name, value);
  }
});
afterEach(async () => {
  vi.unstubAllEnvs();
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  await registry.stop();
  rmSync(directory, { recursive: true, force: true });
});

/** A new secret that is looked for, also in base64 with what usually stands before it. */
function secret(kind: string, user?: string): string {
  const value = `S3CRET-${kind}-${process.pid}-${counter++}`;
  secrets.push(value);
  if (user !== undefined) secrets.push(Buffer.from(`${user}:${value}`).toString('base64'));
  return value;
}

function expectNone(text: string): void {
  for (const value of secrets) expect(text).not.toContain(value);
  expect(text).not.toContain('S3CRET-');
}

function writeConfig(entry: Record<string, string>): void {
  writeFileSync(join(directory, 'config.json'), JSON.stringify({ auths: { [registry.host]: entry } }));
}

/** What a command prints, in all of its ways. */
async function printed(...args: string[]): Promise<string> {
  let text = '';
  const take = (piece: unknown) => {
    text += String(piece);
    return true;
  };
  const spies = [process.stdout, process.stderr].map((stream) =>
    vi.spyOn(stream, 'write').mockImplementation(take),
  );
  try {
    for (const more of [[], ['--debug'], ['--debug', '--json']]) {
      expect(await runCommandLine([...args, ...more])).not.toBe(0);
    }
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
  // A stack of each run with --debug.
  expect(text.match(/^ {4}at /gm)?.length).toBeGreaterThan(1);
  return text;
}
const inspect = () => printed('inspect', `${registry.host}/team/app:1`);

function answer(response: ServerResponse, status: number, message: string): void {
  const body = JSON.stringify({ errors: [{ code: 'UNKNOWN', message }] });
  response.writeHead(status, { 'content-type': 'application/json', 'x-request-id': message }).end(body);
}
const decode = (header = '') => Buffer.from(header.replace(/^Basic /, ''), 'base64').toString();

it('a password that the registry repeats', async () => {
  writeConfig({ auth: Buffer.from(`anna:${secret('password', 'anna')}`).toString('base64') });
  registry.intercept(
    /./,
    ({ headers: { authorization } }, response) => {
      if (authorization === undefined) {
        response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end();
      } else answer(response, 403, `${authorization} is ${decode(authorization)}`);
    },
    always,
  );
  expectNone(await inspect());
});

it.each([
  ['auth', 'password'],
  ['identitytoken', 'identity'],
])('a log-in (%s) that the token server repeats', async (field, kind) => {
  const value = secret(kind, 'anna');
  writeConfig({ [field]: field === 'auth' ? Buffer.from(`anna:${value}`).toString('base64') : value });
  registry.intercept(
    / \/v2\//,
    (_, response) => void response.writeHead(401, { 'www-authenticate': 'Bearer realm="/token"' }).end(),
    always,
  );
  registry.intercept(
    / \/token/,
    ({ headers, body }, response) =>
      answer(response, 401, `${headers.authorization} ${decode(headers.authorization)} ${body}`),
    always,
  );
  expectNone(await inspect());
});

it('a token that the registry repeats', async () => {
  const token = secret('token');
  registry.intercept(
    / \/v2\//,
    ({ headers: { authorization } }, response) => {
      if (authorization !== undefined)
        return answer(response, 403, `${authorization} means ${authorization.slice(7)}`);
      response.writeHead(401, { 'www-authenticate': 'Bearer realm="/token"' }).end();
    },
    always,
  );
  registry.intercept(/ \/token/, (_, response) => void response.end(JSON.stringify({ token })), always);
  expectNone(await inspect());
});

it('the query of a signed address, and that of an upload', async () => {
  const query = `X-Signature=${secret('signed')}`;
  registry.intercept(
    /GET \/v2\/.*manifests/,
    (_, response) => void response.writeHead(307, { location: `/storage/x?${query}` }).end(),
    always,
  );
  registry.intercept(/ \/storage/, ({ url }, response) => answer(response, 403, `http://s.io${url}`), always);
  expectNone(await inspect());
  registry.intercept(
    /GET \/v2\/.*manifests/,
    (_, response) => void response.writeHead(307, { location: `http://127.0.0.1:1/x?${query}` }).end(),
    always,
  );
  expectNone(await inspect());
  await writeGoldenLayout('small', join(directory, 'layout'));
  registry.intercept(
    /POST .*uploads/,
    (_, response) => void response.writeHead(202, { location: `/up/x?_state=${secret('state')}` }).end(),
    always,
  );
  registry.intercept(/ \/up\//, ({ url }, response) => answer(response, 400, `http://u.io${url}`), always);
  const target = `${registry.host}/team/app:1`;
  expectNone(await printed('copy', `oci:${join(directory, 'layout')}:latest`, target));
});

it('the password of a proxy', async () => {
  const proxy = await startProxyServer({ credentials: 'me:right' });
  cleanups.push(proxy.stop);
  const password = secret('proxy', 'me');
  vi.stubEnv('HTTPS_PROXY', proxy.url.replace('http://', `http://me:${password}@`));
  expectNone(await printed('inspect', 'registry.test/team/app:1'));
  vi.stubEnv('HTTPS_PROXY', `http://me:${password}@[`);
  expectNone(await printed('inspect', 'registry.test/team/app:1'));
});

it('a header of hosts.toml that the mirror repeats', async () => {
  mkdirSync(join(directory, 'hosts', registry.host), { recursive: true });
  vi.stubEnv('RAFTER_HOSTS_DIR', join(directory, 'hosts'));
  writeFileSync(
    join(directory, 'hosts', registry.host, 'hosts.toml'),
    `server = "http://${registry.host}"\n[header]\nx-key = "${secret('header')}"\n`,
  );
  registry.intercept(/./, ({ headers }, response) => answer(response, 400, `${headers['x-key']}`), always);
  expectNone(await inspect());
});

it('the key of a client certificate', async (context) => {
  const missing = missingPrograms('openssl');
  if (missing !== undefined) context.skip(missing);
  const ca = makeCertificate(directory, 'ca');
  const [server, client, other] = ['server', 'client', 'other'].map((name) =>
    makeCertificate(directory, name, ca),
  ) as [typeof ca, typeof ca, typeof ca];
  for (const { key } of [client, other]) secrets.push(readFileSync(key, 'utf8').split('\n')[1]!);
  const tls = createServer(
    {
      cert: readFileSync(server.cert),
      key: readFileSync(server.key),
      requestCert: true,
      ca: readFileSync(ca.cert),
    },
    (_, response) => answer(response, 403, 'no'),
  );
  tls.listen(0, '127.0.0.1');
  await once(tls, 'listening');
  cleanups.push(() => {
    tls.close();
    tls.closeAllConnections();
  });
  const image = `127.0.0.1:${(tls.address() as AddressInfo).port}/team/app:1`;
  const files = ['--ca', ca.cert, '--cert', client.cert];
  expectNone(await printed('inspect', image, ...files, '--key', client.key));
  expectNone(await printed('inspect', image, ...files, '--key', other.key));
});

it('what a credential helper prints, and what it is given', async () => {
  const path = join(directory, 'docker-credential-loud');
  const seen = join(directory, 'seen');
  const script = `#!/bin/sh
{ echo "$@"; tr '\\0' '\\n' < /proc/self/environ; } >> ${seen}
echo "$(cat) ${secret('helper')}"; exit 1
`;
  writeFileSync(path, script, { mode: 0o755 });
  writeFileSync(join(directory, 'config.json'), '{"credsStore":"loud"}');
  vi.stubEnv('PATH', `${directory}:${process.env.PATH}`);
  vi.stubEnv('RAFTER_PASSWORD', secret('environment'));
  registry.intercept(
    /./,
    (_, response) => void response.writeHead(401, { 'www-authenticate': 'Basic realm="x"' }).end(),
    always,
  );
  expectNone(await printed('inspect', `${registry.host}/team/app:1`));
  expectNone(readFileSync(seen, 'utf8'));
});

it('an exception that nothing caught', async () => {
  const url = `http://me:${secret('crash')}@h.io/?x=${secret('crash')}`;
  const crash = join(directory, 'crash.mjs');
  writeFileSync(
    crash,
    `setImmediate(function wait() {
  if (process.listenerCount('uncaughtException') === 0) return setImmediate(wait);
  const url = process.env.CRASH_URL;
  throw new Error('outer', { cause: Object.assign(new Error(url), { headers: { url } }) });
});`,
  );
  registry.intercept(/./, () => {}, always);
  const rafter = resolve(import.meta.dirname, '../../bin/rafter');
  const child = spawn(
    process.execPath,
    ['--import', crash, rafter, 'inspect', `${registry.host}/team/app:1`],
    { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, CRASH_URL: url } },
  );
  let text = '';
  child.stdout.on('data', (piece: Buffer) => (text += piece.toString()));
  child.stderr.on('data', (piece: Buffer) => (text += piece.toString()));
  expect(await once(child, 'close')).toEqual([1, null]);
  expect(text).toContain('caused by Error');
  expectNone(text);
});

it('whatever a daemon was told, in its log, its state and its cache', async () => {
  const place: TestPlace = createPlace();
  cleanups.push(() => place.remove());
  const access = { credentials: { username: 'anna', password: secret('password', 'anna') } };
  const layout = join(directory, 'layout');
  await writeGoldenLayout('small', layout);
  await copyImage(
    new LayoutSource({ transport: 'oci', path: layout, tag: 'latest' }),
    openTarget(parseReference(`${registry.host}/team/app:1`)),
  );
  const token = secret('token');
  const signed = `X-Signature=${secret('signed')}`;
  let isBroken = false;
  registry.intercept(
    / \/v2\//,
    ({ headers: { authorization }, url }, response, next) => {
      if (authorization !== `Bearer ${token}`) {
        response.writeHead(401, { 'www-authenticate': 'Bearer realm="/token"' }).end();
      } else if (url.includes('/blobs/') && isBroken) {
        answer(response, 403, `${authorization} http://${registry.host}${url}?${signed}`);
      } else next();
    },
    always,
  );
  registry.intercept(
    / \/token/,
    ({ headers }, response) =>
      isBroken
        ? answer(response, 401, `${decode(headers.authorization)} ${headers.authorization}`)
        : void response.end(JSON.stringify({ token })),
    always,
  );
  const reference = `${registry.host}/team/app:1`;
  const { mountpoint } = await mountImage(place, {
    reference,
    mountpoint: await place.mountpoint('m'),
    access,
  });
  isBroken = true;
  const file = [...goldenTree('small')].find(({ type, size = 0 }) => type === 'file' && size > 0)!;
  // Another process reads: this one answers for the registry.
  const reader = spawn('cat', [join(mountpoint, file.path!)], { stdio: 'ignore' });
  expect(await once(reader, 'exit')).toEqual([1, null]);
  const second = await place.mountpoint('n');
  const refused = mountImage(place, { reference: reference.replace(':1', ':2'), mountpoint: second, access });
  const error = await refused.catch((caught: Error) => caught);
  expectNone(`${error} ${JSON.stringify(error)} ${(error as Error).stack}`);
  await shutdownDaemon(place);
  const text = (await allText(place.runDir)) + (await allText(place.dataRoot));
  expect(text).toContain(registry.host);
  expectNone(text);
});
