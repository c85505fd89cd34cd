import { getEventListeners, once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { exchange } from '../../../src/mount/api/exchange.js';

let dir: string;
let socket: string;
/** What the server does with a connection when it has heard a whole head. */
let answer: (connection: Socket, heard: string) => void;
const server = createServer((connection) => {
  let heard = '';
  connection.on('error', () => {});
  connection.on('data', (bytes) => {
    heard += bytes;
    if (heard.includes('\r\n\r\n')) answer(connection, heard);
  });
});

beforeEach(async () => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-exchange-'));
  socket = join(dir, 'socket');
  server.listen(socket);
  await once(server, 'listening');
});
afterEach(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(dir, { recursive: true, force: true });
});

it('sends a request and returns what is answered, in whatever pieces it comes', async () => {
  let asked = '';
  answer = (connection, heard) => {
    asked = heard;
    const text = 'HTTP/1.1 409 Conflict\r\nContent-Length: 7\r\n\r\n"nein\u00fc"';
    for (const byte of Buffer.from(text, 'latin1')) connection.write(Buffer.of(byte));
    connection.end();
  };
  const onSent = vi.fn();
  const request = { method: 'POST', path: '/v1/mounts?a=b', body: '{"a":"ü"}', onSent };
  expect(await exchange(socket, request)).toEqual({
    status: 409,
    body: Buffer.from('"nein\u00fc"', 'latin1'),
  });
  expect(onSent).toHaveBeenCalledOnce();
  expect(asked).toBe(
    'POST /v1/mounts?a=b HTTP/1.0\r\nhost: daemon\r\ncontent-type: application/json\r\ncontent-length: 10\r\n\r\n{"a":"ü"}',
  );
});

it.each([
  ['in its head', 'HTTP/1.1 200 OK\r\ncontent-le'],
  ['before its body', ''],
  ['in its body', 'HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{"a":'],
])('takes an answer that ends %s for that of a server which died', async (_, text) => {
  answer = (connection) => connection.end(text);
  await expect(exchange(socket, { method: 'GET', path: '/' })).rejects.toMatchObject({ code: 'ECONNRESET' });
});

it('says what is no answer at all', async () => {
  answer = (connection) => connection.end('SSH-2.0-OpenSSH\r\n\r\n');
  await expect(exchange(socket, { method: 'GET', path: '/' })).rejects.toThrow(
    'it does not speak HTTP: "SSH-2.0-OpenSSH"',
  );
});

it('asks nothing when it is aborted already', async () => {
  answer = vi.fn();
  const request = exchange(socket, { method: 'GET', path: '/', signal: AbortSignal.abort() });
  await expect(request).rejects.toThrow('aborted');
  expect(answer).not.toHaveBeenCalled();
});

it('rejects where nobody listens', async () => {
  const request = exchange(join(dir, 'none'), { method: 'GET', path: '/' });
  await expect(request).rejects.toMatchObject({ code: 'ENOENT' });
});

it('closes the connection when it is aborted', async () => {
  const gone = new Promise<void>((resolve) => {
    answer = (connection) => connection.once('close', () => resolve());
  });
  const controller = new AbortController();
  const onSent = () => setImmediate(() => controller.abort());
  const request = exchange(socket, { method: 'GET', path: '/', signal: controller.signal, onSent });
  await expect(request).rejects.toThrow('aborted');
  await gone;
  expect(getEventListeners(controller.signal, 'abort')).toEqual([]);
});
