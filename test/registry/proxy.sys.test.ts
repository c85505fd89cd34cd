import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:https';
import { type AddressInfo, connect, createServer as createTcpServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, expect, it, vi } from 'vitest';
import { parseReference, type RegistryReference } from '../../src/image/reference.js';
import { getManifest } from '../../src/registry/manifests.js';
import type { RegistryOptions } from '../../src/registry/options.js';
import { openSession } from '../../src/registry/session.js';
import { type CertificateFiles, makeCertificate } from '../support/certificates.js';
import { type FakeRegistry, quickly, startFakeRegistry } from '../support/fake-registry.js';
import { missingPrograms } from '../support/programs.js';
import { type ProxyServer, type ProxyServerOptions, startProxyServer } from '../support/proxy-server.js';
import { startSocksServer } from '../support/socks-server.js';

const missing = missingPrograms('openssl');
const mediaType = 'application/vnd.oci.image.index.v1+json';
const manifest = Buffer.from('{"schemaVersion":2,"manifests":[]}');
let directory: string;
let ca: CertificateFiles;
let tlsServer: Server;
let registry: FakeRegistry;
let proxy: ProxyServer | undefined;

beforeAll(async () => {
  if (missing !== undefined) return;
  directory = mkdtempSync(join(tmpdir(), 'rafter-proxy-'));
  ca = makeCertificate(directory, 'ca');
  const server = makeCertificate(directory, 'server', ca);
  tlsServer = createServer(
    { cert: readFileSync(server.cert), key: readFileSync(server.key) },
    (_, response) => void response.writeHead(200, { 'content-type': mediaType }).end(manifest),
  );
  tlsServer.listen(0, '127.0.0.1');
  await once(tlsServer, 'listening');
});
afterAll(() => {
  tlsServer?.close();
  tlsServer?.closeAllConnections();
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
});
beforeEach(async (context) => {
  if (missing !== undefined) context.skip(missing);
  registry = await startFakeRegistry();
  registry.manifests.set('1', { mediaType, bytes: manifest });
});
afterEach(async () => {
  await registry?.stop();
  await proxy?.stop();
  proxy = undefined;
});

async function start(options: ProxyServerOptions = {}): Promise<ProxyServer> {
  proxy = await startProxyServer(options);
  return proxy;
}

/** Reads a manifest of a registry whose name nobody has: only the proxy finds it. */
async function read(host: string, env: NodeJS.ProcessEnv, options: RegistryOptions = {}) {
  const session = openSession(parseReference(`${host}/team/app:1`) as RegistryReference, {
    dockerConfig: '/nonexistent',
    env: { HOME: directory, ...env },
    retry: { ...quickly, attempts: 1 },
    ...options,
  });
  try {
    return (await getManifest(session, '1')).bytes;
  } finally {
    await session.close();
  }
}
const portOf = (host: string) => ({ host: '127.0.0.1', port: Number(host.split(':')[1]) });
const tlsPort = () => ({ host: '127.0.0.1', port: (tlsServer.address() as AddressInfo).port });

it('tunnels HTTPS, and checks the certificate at the other end', async () => {
  const { url, requests } = await start({ target: tlsPort() });
  const trusting = { caFile: ca.cert };
  expect(await read('registry.test:5000', { HTTPS_PROXY: url }, trusting)).toEqual(manifest);
  await expect(read('other.test:5000', { HTTPS_PROXY: url }, trusting)).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('not for other.test (ERR_TLS_CERT_ALTNAME_INVALID)'),
    hint: expect.stringContaining('DNS:registry.test'),
  });
  await expect(read('registry.test:5000', { HTTPS_PROXY: url })).rejects.toMatchObject({
    hint: expect.stringContaining('--ca'),
  });
  expect(requests.map(({ line }) => line)).toEqual([
    'CONNECT registry.test:5000',
    'CONNECT other.test:5000',
    'CONNECT registry.test:5000',
  ]);
});

it('sends its user name and password to the proxy alone', async () => {
  const { url, requests } = await start({ credentials: 'me:p@ss w0rd', target: portOf(registry.host) });
  const proxyUrl = url.replace('http://', 'http://me:p%40ss%20w0rd@');
  expect(await read('registry.test:5000', { HTTP_PROXY: proxyUrl }, { plainHttp: true })).toEqual(manifest);
  expect(requests).toEqual([
    {
      line: 'GET http://registry.test:5000/v2/team/app/manifests/1',
      authorization: `Basic ${Buffer.from('me:p@ss w0rd').toString('base64')}`,
    },
  ]);
  expect(registry.requests[0]!.headers).not.toHaveProperty('proxy-authorization');
  expect(registry.requests[0]!.headers.host).toBe('registry.test:5000');
});

it.each([
  ['https', 'HTTPS_PROXY', {}],
  ['http', 'HTTP_PROXY', { plainHttp: true }],
])('says that the proxy refused, without the password (%s)', async (_, variable, options) => {
  const { url } = await start({ credentials: 'me:right' });
  const env = { [variable]: url.replace('http://', 'http://me:wr0ng-s3cret@') };
  const error = await read('registry.test', env, options).catch((caught: Error) => caught);
  expect(error).toMatchObject({
    code: 'DENIED',
    message: expect.stringContaining(`the proxy ${url} answered 407`),
    hint: expect.stringContaining('user name and password'),
  });
  expect(`${error}${(error as Error).stack}${JSON.stringify(error)}`).not.toContain('s3cret');
});

it('names the proxy that cannot be reached', async () => {
  const { url, stop } = await start();
  await stop();
  proxy = undefined;
  await expect(read('registry.test', { ALL_PROXY: url })).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining(`(through the proxy ${url})`),
  });
});

it('may have TLS of its own, and its certificate is checked by what the machine trusts', async () => {
  const server = makeCertificate(directory, 'proxy', ca);
  const secure = createServer({ cert: readFileSync(server.cert), key: readFileSync(server.key) });
  const asked: (string | undefined)[] = [];
  secure.on('connect', ({ url }, socket: Socket) => {
    asked.push(url);
    const onward = connect(tlsPort(), () => socket.write('HTTP/1.1 200 OK\r\n\r\n'));
    onward
      .on('error', () => {})
      .pipe(socket.on('error', () => {}))
      .pipe(onward);
  });
  secure.listen(0, '127.0.0.1');
  await once(secure, 'listening');
  const env = { HTTPS_PROXY: `https://localhost:${(secure.address() as AddressInfo).port}` };
  try {
    expect(await read('registry.test', { ...env, SSL_CERT_FILE: ca.cert })).toEqual(manifest);
    await expect(read('registry.test', env, { caFile: ca.cert })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('not trusted'),
    });
    expect(asked).toEqual(['registry.test:443']);
  } finally {
    secure.close();
    secure.closeAllConnections();
  }
});

it('may be SOCKS5, which looks the name up, for HTTP and HTTPS', async () => {
  const login = 'me:p@ss w0rd';
  const [plain, closed] = await Promise.all([
    startSocksServer(portOf(registry.host)),
    startSocksServer(tlsPort(), { login }),
  ]);
  const write = vi.spyOn(process, 'emitWarning');
  try {
    const options = { plainHttp: true };
    expect(await read('registry.test', { ALL_PROXY: `socks5://${plain.host}` }, options)).toEqual(manifest);
    const env = { HTTPS_PROXY: `socks5h://me:p%40ss%20w0rd@${closed.host}` };
    expect(await read('registry.test:5000', env, { caFile: ca.cert })).toEqual(manifest);
    await expect(read('other.test', env, { caFile: ca.cert })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('not for other.test'),
    });
    const wrong = { HTTPS_PROXY: `socks5://me:wr0ng-s3cret@${closed.host}` };
    const error = await read('registry.test', wrong).catch((caught: Error) => caught);
    expect(error).toMatchObject({
      code: 'DENIED',
      message: expect.stringContaining(`socks5://${closed.host}`),
    });
    expect(`${error}${(error as Error).stack}`).not.toContain('s3cret');
    expect([...plain.requests, ...closed.requests]).toEqual([
      { target: 'registry.test:80', login: undefined },
      { target: 'registry.test:5000', login },
      { target: 'other.test:443', login },
    ]);
    expect(write).not.toHaveBeenCalled();
  } finally {
    write.mockRestore();
    await Promise.all([plain.stop(), closed.stop()]);
  }
});

it('that is mute or hangs up is not waited for longer than for a connection', async () => {
  const mute = createTcpServer().listen(0, '127.0.0.1');
  await once(mute, 'listening');
  const env = { ALL_PROXY: `socks5://127.0.0.1:${(mute.address() as AddressInfo).port}` };
  try {
    const options = { plainHttp: true, timeouts: { connectMs: 200 } };
    const message = (text: string) => ({ code: 'UNAVAILABLE', message: expect.stringContaining(text) });
    await expect(read('registry.test', env, options)).rejects.toMatchObject(message('does not answer'));
    mute.on('connection', (socket) => socket.end());
    await expect(read('registry.test', env, { plainHttp: true })).rejects.toMatchObject(message('hung up'));
    const http = { HTTPS_PROXY: env.ALL_PROXY.replace('socks5', 'http') };
    await expect(read('registry.test', http)).rejects.toMatchObject(message('the proxy hung up'));
  } finally {
    mute.close();
  }
});

it('has as long as a registry to answer, and to go on', async () => {
  const { url } = await start({ target: portOf(registry.host) });
  const options = { plainHttp: true, timeouts: { answerMs: 200, idleMs: 200 } };
  registry.intercept(/GET/, () => {}, 1);
  const silent = read('registry.test', { HTTP_PROXY: url }, options);
  await expect(silent).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('Headers Timeout'),
  });
  registry.intercept(/GET/, (_, response) => void response.write('{'), 1);
  const stuck = read('registry.test', { HTTP_PROXY: url }, options);
  await expect(stuck).rejects.toMatchObject({
    code: 'UNAVAILABLE',
    message: expect.stringContaining('Body Timeout'),
  });
});

it('is not used for this machine, nor for what NO_PROXY names', async () => {
  const { url, requests } = await start();
  expect(await read(registry.host, { ALL_PROXY: url })).toEqual(manifest);
  await expect(
    read('registry.invalid', { ALL_PROXY: url, NO_PROXY: '.example.com,registry.invalid' }),
  ).rejects.toMatchObject({ code: 'UNAVAILABLE', message: expect.not.stringContaining('proxy') });
  expect(requests).toEqual([]);
});
