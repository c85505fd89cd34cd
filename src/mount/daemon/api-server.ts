import { readFile } from 'node:fs/promises';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { type ErrorCode, isRafterError, messageOf, RafterError } from '../../errors.js';
import { packageFile } from '../../os/package-file.js';
import { explainSystemError, hintOf } from '../../os/system-error.js';
import { type ApiError, type DaemonStatus, mountRequestSchema, upgradeRequestSchema } from '../api/api.js';
import { checkDataRoot } from '../client/data-root.js';
import type { DaemonLog } from '../daemon-log.js';
import type { Meters } from '../meters.js';
import { createPeerCheck } from './api-peer.js';
import { answerCache } from './cache-routes.js';
import type { CacheService } from './cache-service.js';
import { sendMetrics } from './metrics-server.js';
import type { MountTable } from './mount-table.js';
import { parseRequest } from './parse-request.js';

/** What the API can do. */
export interface ApiActions {
  table: MountTable;
  cache: CacheService;
  log: DaemonLog;
  meters: Meters;
  /** All metrics as Prometheus reads them. */
  metrics(): Promise<string>;
  status(): DaemonStatus;
  /** True when the daemon takes no more work. */
  stopping(): boolean;
  /** True when another daemon takes over in a moment. */
  upgrading(): boolean;
  /** Has `command` take over when the answer has been sent. */
  upgrade(command: string[]): void;
  /** Unmounts everything. The daemon ends when the answer has been sent. */
  shutdown(): Promise<void>;
  /** Called when a request begins (+1) and when it has been answered (-1). */
  onRequest(change: 1 | -1): void;
}

/** Largest request body in bytes. */
export const MAX_BODY = 64 << 10;

/** The OpenAPI document, beside the program. */
const DOCUMENT = packageFile('docs/api.json');

const STATUS: Record<ErrorCode, number> = {
  USAGE: 400,
  DENIED: 403,
  NOT_FOUND: 404,
  BUSY: 409,
  LIMIT_EXCEEDED: 413,
  UNSUPPORTED: 422,
  MALFORMED: 502,
  DIGEST_MISMATCH: 502,
  TRUNCATED: 502,
  UNAVAILABLE: 503,
  NO_SPACE: 507,
  INTERRUPTED: 500,
  FAILED: 500,
};

/** The HTTP server of the API described in `api.ts`. The caller listens. */
export function createApiServer(actions: ApiActions): Server {
  const checkPeer = createPeerCheck(actions.log);
  const server = createServer(async (request, response) => {
    try {
      checkPeer(request.socket);
    } catch (error) {
      return sendError(response, error);
    }
    // Whoever watches an idle daemon must not keep it from ending.
    if (request.method === 'GET' && request.url === '/metrics') return sendMetrics(response, actions.metrics);
    actions.onRequest(1);
    try {
      sendJson(response, 200, await answer(request, response, actions));
    } catch (caught) {
      // The next daemon can do what this one was interrupted at.
      const again = actions.upgrading() && isRafterError(caught, 'INTERRUPTED');
      const error = again ? new StoppingError() : caught;
      actions.meters.requestErrors.note(error);
      if (!isRafterError(error)) actions.log.error('a request failed', { url: request.url, error });
      sendError(response, error);
    } finally {
      actions.onRequest(-1);
    }
  });
  server.keepAliveTimeout = 0;
  return server;
}

async function answer(
  request: IncomingMessage,
  response: ServerResponse,
  actions: ApiActions,
): Promise<unknown> {
  if (actions.stopping()) throw new StoppingError();
  const { pathname, searchParams } = new URL(request.url ?? '/', 'http://daemon');
  const route = `${request.method} ${pathname}`;
  const { table } = actions;
  if (route === 'GET /v1/status') return actions.status();
  if (route === 'GET /v1/mounts') return table.describe();
  if (route === 'POST /v1/mounts') {
    const body = await readBody(request);
    const dataRoot = searchParams.get('dataRoot');
    if (dataRoot !== null) checkDataRoot(actions.status(), dataRoot);
    const wanted = parseRequest('mount', mountRequestSchema, body);
    const reuse = searchParams.get('reuse') === 'true';
    return table.mount({ ...wanted, ...(reuse && { reuse }) }, abortedWith(response));
  }
  if (route === 'POST /v1/upgrade') {
    actions.upgrade(parseRequest('upgrade', upgradeRequestSchema, await readBody(request)).command);
    return {};
  }
  if (route === 'GET /v1/openapi.json') return JSON.parse(await readFile(DOCUMENT, 'utf8'));
  if (route === 'POST /v1/shutdown') {
    await actions.shutdown();
    return {};
  }
  if (pathname === '/v1/cache' || pathname.startsWith('/v1/cache/')) {
    const body = () => readBody(request);
    return answerCache(actions.cache, { route, body, signal: abortedWith(response) });
  }
  const force = searchParams.get('force') === 'true';
  if (route === 'DELETE /v1/mounts') {
    const mountpoint = searchParams.get('mountpoint');
    if (mountpoint === null) throw new RafterError('USAGE', 'DELETE /v1/mounts wants ?mountpoint=PATH');
    return table.unmount({ mountpoint }, { force });
  }
  const id = /^DELETE \/v1\/mounts\/([0-9a-f]+)$/.exec(route)?.[1];
  if (id !== undefined) return table.unmount({ id }, { force });
  const traced = /^GET \/v1\/mounts\/([0-9a-f]+)\/trace$/.exec(route)?.[1];
  if (traced !== undefined) return table.trace(traced);
  throw new RafterError('NOT_FOUND', `the daemon's API has no ${route}`);
}

async function readBody(request: IncomingMessage): Promise<string> {
  const pieces: Buffer[] = [];
  let size = 0;
  for await (const piece of request as AsyncIterable<Buffer>) {
    size += piece.length;
    if (size > MAX_BODY)
      throw new RafterError('LIMIT_EXCEEDED', `a request body of more than ${MAX_BODY} bytes`);
    pieces.push(piece);
  }
  return Buffer.concat(pieces).toString();
}

/** Aborted when the client goes away before it was answered. */
function abortedWith(response: ServerResponse): AbortSignal {
  const controller = new AbortController();
  response.once('close', () => {
    if (!response.writableFinished) controller.abort();
  });
  return controller.signal;
}

class StoppingError extends RafterError {
  constructor() {
    super('UNAVAILABLE', 'the daemon is stopping');
  }
}

function sendError(response: ServerResponse, caught: unknown): void {
  const error = explainSystemError(caught);
  const code = isRafterError(error) ? error.code : 'FAILED';
  const body: ApiError = { code, message: messageOf(error) };
  const hint = hintOf(error);
  if (hint !== undefined) body.hint = hint;
  if (error instanceof StoppingError) body.stopping = true;
  sendJson(response, STATUS[code], body);
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  const text = JSON.stringify(body);
  response.writeHead(status, {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(text),
    connection: 'close',
  });
  response.end(text);
}
