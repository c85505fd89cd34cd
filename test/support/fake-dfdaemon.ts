import { once } from 'node:events';
import { createServer, type IncomingHttpHeaders, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { stopServer } from './stop-server.js';

/** How often a byte comes of one that is slow. */
const TRICKLE_MS = 20;
/** Dragonfly's smallest piece. */
export const PIECE = 4 << 20;

/** What a stand-in does instead of serving. */
export type Trouble =
  /** An error of dfdaemon's own. */
  | 'error'
  /** No answer. */
  | 'hang'
  /** Half of the answer, then the connection is cut. */
  | 'cut'
  /** A byte of the answer now and then, for ever. */
  | 'trickle'
  /** A bit of the answer is flipped. */
  | 'wrong';

/** What dfdaemon's proxy does as a mirror: whole pieces from the registry, each once, and ranges out of them. */
export interface FakeDfdaemon {
  url: string;
  requests: { url: string; headers: IncomingHttpHeaders }[];
  trouble: Trouble | undefined;
  /** It says that it has each blob whole. */
  isFinished: boolean;
  stop(): Promise<void>;
}

export async function startFakeDfdaemon(): Promise<FakeDfdaemon> {
  const pieces = new Map<string, Promise<Buffer>>();
  const sizes = new Map<string, number>();

  /** One range from the registry. Its refusal is thrown. */
  async function backend(
    url: string,
    headers: IncomingHttpHeaders,
    [from, to]: [number, number],
  ): Promise<{ bytes: Buffer; size: number }> {
    const { authorization } = headers;
    const response = await fetch(`${headers['x-dragonfly-registry']}${url}`, {
      headers: { range: `bytes=${from}-${to}`, ...(authorization && { authorization }) },
    });
    if (response.status !== 206) throw response;
    const size = Number(/\/(\d+)$/.exec(response.headers.get('content-range') ?? '')?.[1]);
    return { bytes: Buffer.from(await response.arrayBuffer()), size };
  }

  async function rangeOf(url: string, headers: IncomingHttpHeaders): Promise<[Buffer, number, number]> {
    const task = /sha256:[0-9a-f]{64}$/.exec(url)?.[0] ?? url;
    if (!sizes.has(task)) sizes.set(task, (await backend(url, headers, [0, 0])).size);
    const size = sizes.get(task)!;
    const [, first = '0', last = `${size - 1}`] = /^bytes=(\d+)-(\d+)$/.exec(headers.range ?? '') ?? [];
    const [start, end] = [Number(first), Number(last) + 1];
    const parts: Buffer[] = [];
    for (let at = start - (start % PIECE); at < end; at += PIECE) {
      const key = `${task} ${at}`;
      if (!pieces.has(key)) {
        const piece = backend(url, headers, [at, Math.min(at + PIECE, size) - 1]).then(({ bytes }) => bytes);
        pieces.set(key, piece);
        piece.catch(() => pieces.delete(key));
      }
      const bytes = await pieces.get(key)!;
      parts.push(bytes.subarray(Math.max(0, start - at), Math.min(bytes.length, end - at)));
    }
    return [Buffer.concat(parts), start, size];
  }

  async function serve(url: string, headers: IncomingHttpHeaders, response: ServerResponse): Promise<void> {
    const [bytes, start, size] = await rangeOf(url, headers);
    const isRange = headers.range !== undefined;
    response.writeHead(isRange ? 206 : 200, {
      'content-length': bytes.length,
      'x-dragonfly-task-id': /[0-9a-f]{64}$/.exec(url)?.[0] ?? '',
      ...(standIn.isFinished && { 'x-dragonfly-task-download-finished': 'true' }),
      ...(isRange && { 'content-range': `bytes ${start}-${start + bytes.length - 1}/${size}` }),
    });
    if (standIn.trouble === 'wrong') bytes[bytes.length >> 1]! ^= 1;
    if (standIn.trouble === 'trickle') {
      for (let at = 0; !response.destroyed; at++) {
        response.write(bytes.subarray(at, at + 1));
        await sleep(TRICKLE_MS);
      }
      return;
    }
    if (standIn.trouble !== 'cut') return void response.end(bytes);
    response.write(bytes.subarray(0, bytes.length >> 1), () => response.destroy());
  }

  const server = createServer((incoming, response) => {
    const { url = '', headers } = incoming;
    standIn.requests.push({ url, headers });
    if (standIn.trouble === 'hang') return;
    if (standIn.trouble === 'error') {
      response.writeHead(500, { 'x-dragonfly-error-type': 'dfdaemon' }).end();
      return;
    }
    serve(url, headers, response).catch((refusal: unknown) => {
      const { status, headers: said } = refusal instanceof Response ? refusal : Response.error();
      const challenge = said.get('www-authenticate');
      response.writeHead(status || 500, {
        'x-dragonfly-error-type': 'backend',
        ...(challenge !== null && { 'www-authenticate': challenge }),
      });
      response.end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const standIn: FakeDfdaemon = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    requests: [],
    trouble: undefined,
    isFinished: false,
    stop: () => stopServer(server),
  };
  return standIn;
}
