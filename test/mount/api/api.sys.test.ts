import { execFileSync } from 'node:child_process';
import { chmod, readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import * as v from 'valibot';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { OPERATIONS } from '../../../src/mount/api/api-document.js';
import { RESPONSES } from '../../../src/mount/api/api-schemas.js';
import { daemonStatus } from '../../../src/mount/client/client.js';
import { ensureDaemon } from '../../../src/mount/client/start-daemon.js';
import { missingPrograms } from '../../support/programs.js';
import { createPlace, ended, readEverything, type TestPlace } from '../daemon-process.js';
import { writeGoldenLayout } from '../layouts.js';

let place: TestPlace;
beforeEach(async () => {
  place = createPlace({ supervised: true, options: ['--cache-size', '1G'] });
  await ensureDaemon(place);
});
afterEach(() => place.remove());

/** Operations of the document that were called. */
const called = new Set<string>();

function send(method: string, path: string, body?: object): Promise<{ status: number; body: string }> {
  return new Promise((resolve, reject) => {
    const socketPath = join(place.runDir, 'rafter.sock');
    request({ socketPath, method, path, agent: false }, async (response) =>
      resolve({ status: response.statusCode!, body: await text(response) }),
    )
      .on('error', reject)
      .end(body && JSON.stringify(body));
  });
}

/** Sends a request and checks the answer against the document: all that it says, and no member that it does not name. */
async function call(method: 'get' | 'post' | 'delete', path: string, body?: object): Promise<unknown> {
  const { status, body: answered } = await send(method.toUpperCase(), path, body);
  const plain = path.split('?')[0]!;
  const operation = OPERATIONS.find(
    (one) =>
      one.method === method &&
      (one.path === plain || one.path === plain.replace(/^(\/v1\/mounts\/)[0-9a-f]+/, '$1{id}')),
  )!;
  called.add(`${method} ${operation.path}`);
  if (operation.response === undefined) {
    expect(status, answered).toBe(200);
    return answered;
  }
  const answer: unknown = JSON.parse(answered);
  const schema = RESPONSES[status === 200 ? operation.response : 'ApiError'];
  // What a schema does not know, parsing leaves out.
  expect(v.parse(schema as v.GenericSchema, answer), `${method} ${path}`).toEqual(answer);
  return answer;
}

it('answers every route as its document says, and what fails as well', async () => {
  await writeGoldenLayout('small', join(place.dir, 'layout'));
  const reference = `oci:${place.dir}/layout:latest`;
  const mountpoint = await place.mountpoint('m');
  const traced = { reference, mountpoint, trace: {} };
  const mounted = (await call('post', '/v1/mounts', traced)) as { id: string };
  await readEverything(mountpoint);
  const trace = await call('get', `/v1/mounts/${mounted.id}/trace`);
  expect(trace).toMatchObject({ reference, touches: expect.arrayContaining([expect.anything()]) });
  await call('post', '/v1/mounts', {
    reference,
    mountpoint: await place.mountpoint('other'),
    driver: 'fuse',
    complete: 'always',
    writable: {},
  });
  expect(await call('get', '/v1/mounts')).toHaveLength(2);
  expect(await call('get', '/v1/status')).toMatchObject({ mounts: 2, cache: { quota: { limit: 1e9 } } });
  expect(await call('get', '/v1/cache')).toMatchObject({ blobs: [{ images: [reference] }] });
  await call('post', '/v1/cache/verify');
  await call('post', '/v1/cache/pins', { target: reference, pinned: true });
  expect(await call('delete', `/v1/mounts/${mounted.id}`)).toMatchObject({ id: mounted.id });
  await call('delete', `/v1/mounts?mountpoint=${place.dir}/other&force=true`);
  await call('post', '/v1/cache/prune', { all: true });
  expect(await call('delete', '/v1/mounts/00')).toMatchObject({ code: 'NOT_FOUND' });
  expect(await call('post', '/v1/mounts', { reference, mountpoint: '/none' })).toMatchObject({
    code: 'NOT_FOUND',
    hint: expect.stringContaining('mkdir'),
  });
  expect(await call('post', '/v1/cache/pins', {})).toMatchObject({ code: 'USAGE' });
  const document = JSON.parse((await call('get', '/v1/openapi.json')) as string);
  expect(document).toEqual(
    JSON.parse(await readFile(new URL('../../../docs/api.json', import.meta.url), 'utf8')),
  );
  expect(await call('get', '/metrics')).toMatch(/^rafter_api_errors_total\{code="NOT_FOUND"\} 2$/m);
  const { pid } = (await daemonStatus(place))!;
  expect(await call('post', '/v1/upgrade', { command: [...place.command] })).toEqual({});
  expect(await ended(pid)).toBe(true);
  const status = await ensureDaemon(place);
  expect(status.startReason).toBe('upgrade');
  await call('post', '/v1/shutdown');
  const all = OPERATIONS.map(({ method, path }) => `${method} ${path}`);
  expect([...called].sort()).toEqual(all.sort());
});

it.skipIf(process.geteuid?.() !== 0)(
  'refuses other users also where the mode of the socket lets them in',
  async (ctx) => {
    const missing = missingPrograms('setpriv', 'perl');
    if (missing) ctx.skip(missing);
    const socket = join(place.runDir, 'rafter.sock');
    for (const path of [place.dir, place.runDir]) await chmod(path, 0o711);
    const script = join(place.dir, 'ask.pl');
    await writeFile(
      script,
      `use IO::Socket::UNIX; my $s = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "no: $!";
     print $s "$ARGV[1] HTTP/1.0\\r\\n\\r\\n"; local $/; print <$s>;`,
    );
    const ask = (uid: number, what: string) => {
      const args = [
        '--reuid',
        String(uid),
        '--regid',
        String(uid),
        '--clear-groups',
        'perl',
        script,
        socket,
        what,
      ];
      return execFileSync('setpriv', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] });
    };
    await chmod(script, 0o644);
    expect(() => ask(65_534, 'GET /v1/status')).toThrow();
    await chmod(socket, 0o666);
    expect(ask(0, 'GET /v1/status')).toMatch(/^HTTP\/1.1 200 /);
    for (const what of ['GET /v1/status', 'GET /metrics', 'POST /v1/shutdown']) {
      const answer = ask(65_534, what);
      expect(answer).toMatch(/^HTTP\/1.1 403 /);
      expect(JSON.parse(answer.split('\r\n\r\n')[1]!)).toMatchObject({ code: 'DENIED' });
    }
    expect(await daemonStatus(place)).toBeDefined();
    expect(await readFile(join(place.runDir, 'daemon.log'), 'utf8')).toMatch(
      /"uid":65534.*refused a connection/,
    );
  },
);
