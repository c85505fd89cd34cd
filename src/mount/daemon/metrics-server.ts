import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { messageOf, RafterError } from '../../errors.js';
import { METRICS_TYPE } from '../metrics-text.js';

/** Where metrics are offered over TCP. */
export interface ListenAddress {
  host: string;
  /** 0 takes any that is free. */
  port: number;
}

/**
 * Listens for `GET /metrics`, which is all that it answers: nobody is asked who he is. Returns the server and where it
 * listens. Throws BUSY if the port is taken, else FAILED.
 */
export async function serveMetrics(
  { host, port }: ListenAddress,
  collect: () => Promise<string>,
): Promise<{ server: Server; address: string }> {
  const server = createServer((request, response) => {
    const path = request.url?.split('?')[0];
    if (path !== '/metrics') return sendPlain(response, 404, 'metrics are at /metrics\n');
    if (request.method !== 'GET') return sendPlain(response, 405, 'only GET\n');
    sendMetrics(response, collect);
  });
  try {
    server.listen({ host, port });
    await once(server, 'listening');
  } catch (cause) {
    const code = (cause as { code?: string }).code === 'EADDRINUSE' ? 'BUSY' : 'FAILED';
    throw new RafterError(code, `cannot offer metrics at ${host}, port ${port}: ${messageOf(cause)}`, {
      cause,
      hint: 'give another address with --metrics',
    });
  }
  const { address, port: taken, family } = server.address() as AddressInfo;
  return { server, address: family === 'IPv6' ? `[${address}]:${taken}` : `${address}:${taken}` };
}

/** Answers with all metrics. */
export async function sendMetrics(response: ServerResponse, collect: () => Promise<string>): Promise<void> {
  try {
    send(response, 200, { type: METRICS_TYPE, text: await collect() });
  } catch (error) {
    sendPlain(response, 500, `${messageOf(error)}\n`);
  }
}

function sendPlain(response: ServerResponse, status: number, text: string): void {
  send(response, status, { type: 'text/plain; charset=utf-8', text });
}

function send(
  response: ServerResponse,
  status: number,
  { type, text }: { type: string; text: string },
): void {
  const headers = { 'content-type': type, 'content-length': Buffer.byteLength(text), connection: 'close' };
  response.writeHead(status, headers);
  response.end(text);
}
