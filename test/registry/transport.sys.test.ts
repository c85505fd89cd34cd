import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo, createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { RegistryOptions } from '../../src/registry/options.js';
import { createTransport, type HttpRequest, readBody } from '../../src/registry/transport.js';

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function serve(listener: RequestListener): Promise<{ url: string; server: Server }> {
  const server = createServer(listener).listen(0, '127.0.0.1');
  await once(server, 'listening');
  cleanups.push(() => {
    server.close();
    server.closeAllConnections();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, server };
}

async function send(url: string, request: Partial<HttpRequest> = {}, options: RegistryOptions = {}) {
  const transport = await createTransport(options);
  cleanups.push(() => transport.close());
  const response = await transport.send({ method: 'GET', url: new URL(url), ...request });
  return { ...response, text: (await readBody(response, 1 << 20, 'x')).toString() };
}

describe('redirects', () => {
  it('keep Authorization on the same origin, relative or absolute', async () => {
    const seen: unknown[] = [];
    const { url } = await serve((request, response) => {
      seen.push([request.url, request.headers.authorization]);
      const next = { '/a': '/b?x=1', '/b?x=1': `${url}/c` }[request.url!];
      if (next) response.writeHead(307, { location: next }).end();
      else response.end('there');
    });
    const answer = await send(`${url}/a`, { headers: { authorization: 'Basic abc' } });
    expect(answer).toMatchObject({ status: 200, text: 'there', url: new URL(`${url}/c`) });
    expect(seen).toEqual(['/a', '/b?x=1', '/c'].map((path) => [path, 'Basic abc']));
  });

  it('take no credentials to another origin, and do not find them again on the way back', async () => {
    const headers: Record<string, unknown>[] = [];
    const other = await serve((request, response) => {
      headers.push(request.headers);
      response.writeHead(302, { location: `${home.url}/back` }).end();
    });
    const home = await serve((request, response) => {
      if (request.url === '/back') {
        headers.push(request.headers);
        response.end('home');
      } else response.writeHead(307, { location: other.url.replace('http://', 'http://user:secret@') }).end();
    });
    const sent = { Authorization: 'Bearer t', cookie: 'c=1', range: 'bytes=0-1' };
    expect((await send(home.url, { headers: sent })).text).toBe('home');
    expect(headers).toHaveLength(2);
    for (const received of headers) {
      expect(received).toMatchObject({ range: 'bytes=0-1' });
      expect(received).not.toHaveProperty('authorization');
      expect(received).not.toHaveProperty('cookie');
    }
  });

  it('end after ten', async () => {
    let count = 0;
    const { url } = await serve((_, response) => {
      count++;
      response.writeHead(302, { location: `/${count}` }).end();
    });
    await expect(send(url)).rejects.toMatchObject({ code: 'UNAVAILABLE', temporary: false });
    expect(count).toBe(11);
  });

  it.each([
    ['without Location', {}],
    ['to no URL', { location: 'http://[' }],
    ['to a file', { location: 'file:///etc/passwd' }],
  ])('%s are MALFORMED', async (_, headers) => {
    const { url } = await serve((_request, response) => response.writeHead(302, headers).end());
    await expect(send(url)).rejects.toMatchObject({ code: 'MALFORMED' });
  });

  it('send a body again after 307, and are an answer for a PUT after 302', async () => {
    const bodies: string[] = [];
    const { url } = await serve(async (request, response) => {
      let body = '';
      for await (const piece of request) body += piece;
      bodies.push(`${request.url} ${body}`);
      if (request.url === '/a') response.writeHead(307, { location: '/b' }).end();
      else response.writeHead(302, { location: '/c' }).end();
    });
    const body = { size: 5, open: () => Readable.from([Buffer.from('hello')], { objectMode: false }) };
    expect(await send(`${url}/a`, { method: 'PUT', body })).toMatchObject({ status: 302 });
    expect(bodies).toEqual(['/a hello', '/b hello']);
  });
});

describe('a server that does not answer as it should', () => {
  it('is UNAVAILABLE when nothing listens there', async () => {
    const { url, server } = await serve(() => {});
    server.close();
    await expect(send(url)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      temporary: true,
      message: expect.stringContaining('ECONNREFUSED'),
    });
  });

  it('does not speak TLS', async () => {
    const { url } = await serve(() => {});
    await expect(send(url.replace('http:', 'https:'))).rejects.toMatchObject({
      temporary: false,
      hint: expect.stringContaining('--plain-http'),
    });
  });

  it('never answers, or stops in the middle', async () => {
    const { url } = await serve((request, response) => {
      if (request.url === '/half') response.writeHead(200, { 'content-length': 10 }).write('half');
    });
    const timeouts = { answerMs: 200, idleMs: 200 };
    await expect(send(url, {}, { timeouts })).rejects.toMatchObject({ code: 'UNAVAILABLE', temporary: true });
    await expect(send(`${url}/half`, {}, { timeouts })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      temporary: true,
    });
  });

  it('takes an upload and never answers, or stops taking it', async () => {
    const taking = await serve((request) => void request.resume());
    const stuck = createTcpServer((socket) => void socket.pause()).listen(0, '127.0.0.1');
    await once(stuck, 'listening');
    cleanups.push(() => void stuck.close());
    const bytes = Buffer.alloc(16 << 20);
    const body = { size: bytes.length, open: () => Readable.from([bytes], { objectMode: false }) };
    const timeouts = { answerMs: 300, idleMs: 300 };
    const urls = [taking.url, `http://127.0.0.1:${(stuck.address() as AddressInfo).port}`];
    for (const url of urls) {
      await expect(send(url, { method: 'PUT', body }, { timeouts })).rejects.toMatchObject({
        code: 'UNAVAILABLE',
      });
    }
  });

  it('sends more than anybody asked for', async () => {
    const { url } = await serve((_, response) => void response.end(Buffer.alloc((1 << 20) + 1)));
    await expect(send(url)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });
});

it('finds a server that has only one of the addresses of its name', async () => {
  const { url } = await serve((_, response) => void response.end('there'));
  expect(await send(url.replace('127.0.0.1', 'localhost'))).toMatchObject({ status: 200, text: 'there' });
});

it('has at most 16 connections to a host, however much is asked of it at once', async () => {
  const waiting: (() => void)[] = [];
  let most = 0;
  const { url, server } = await serve((_, response) => {
    waiting.push(() => response.end('x'));
    most = Math.max(most, waiting.length);
  });
  let connections = 0;
  server.on('connection', () => connections++);
  const transport = await createTransport({});
  cleanups.push(() => transport.close());
  const answers = Array.from({ length: 40 }, async () =>
    readBody(await transport.send({ method: 'GET', url: new URL(url) }), 10, 'x'),
  );
  await vi.waitFor(() => expect(waiting).toHaveLength(16), 20_000);
  for (let done = 0; done < 40; done++) {
    await vi.waitFor(() => expect(waiting).not.toHaveLength(0), 20_000);
    waiting.shift()!();
  }
  expect(await Promise.all(answers)).toHaveLength(40);
  expect([most, connections]).toEqual([16, 16]);
});

it('lets a slow upload take longer than the wait for an answer', async () => {
  const { url } = await serve((request, response) => {
    request.on('end', () => response.end('ok')).resume();
  });
  async function* drip() {
    for (let i = 0; i < 20; i++) {
      await new Promise((resolve) => setTimeout(resolve, 60));
      yield Buffer.alloc(100);
    }
  }
  const body = { size: 2000, open: () => Readable.from(drip(), { objectMode: false }) };
  const answer = await send(url, { method: 'PUT', body }, { timeouts: { answerMs: 1000, idleMs: 20_000 } });
  expect(answer.text).toBe('ok');
});

it('ends at once when it is interrupted', async () => {
  const { url } = await serve(() => {});
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 30);
  const start = performance.now();
  await expect(send(url, { signal: controller.signal })).rejects.toMatchObject({ code: 'INTERRUPTED' });
  const bytes = Buffer.from('x');
  const body = { size: 1, open: () => bytes };
  await expect(send(url, { method: 'PUT', body, signal: controller.signal })).rejects.toMatchObject({
    code: 'INTERRUPTED',
  });
  expect(performance.now() - start).toBeLessThan(20_000);
});

it('ends at once when it is interrupted before there is a connection', async () => {
  const mute = createTcpServer().listen(0, '127.0.0.1');
  await once(mute, 'listening');
  cleanups.push(() => void mute.close());
  const controller = new AbortController();
  mute.once('connection', (socket) => {
    cleanups.push(() => void socket.destroy());
    controller.abort();
  });
  const url = `https://127.0.0.1:${(mute.address() as AddressInfo).port}`;
  const timeouts = { connectMs: 3_600_000 };
  await expect(send(url, { signal: controller.signal }, { timeouts })).rejects.toMatchObject({
    code: 'INTERRUPTED',
  });
});

it('names the file of a certificate that is missing, wrong or alone', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'rafter-pem-'));
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }));
  const notPem = join(directory, 'not.pem');
  writeFileSync(notPem, 'hello');
  await expect(createTransport({ caFile: join(directory, 'none') })).rejects.toMatchObject({
    code: 'NOT_FOUND',
  });
  await expect(createTransport({ caFile: notPem })).rejects.toMatchObject({
    code: 'MALFORMED',
    message: expect.stringContaining(notPem),
  });
  await expect(createTransport({ certFile: notPem })).rejects.toMatchObject({ code: 'USAGE' });
});
