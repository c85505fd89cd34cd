import type { IncomingHttpHeaders } from 'node:http';
import type { Readable } from 'node:stream';
import type { Dispatcher } from 'undici';
import { messageOf, RafterError } from '../errors.js';
import { createDispatchers, type Dispatchers } from './dispatchers.js';
import { networkError } from './error.js';
import type { Endpoint } from './hosts/endpoint.js';
import { isInside, isOnlyHere } from './hosts/origin.js';
import { tlsSettingsFor } from './hosts/tls-settings.js';
import { DEFAULT_TIMEOUTS, type RegistryOptions, type Timeouts } from './options.js';
import { orAborted } from './or-aborted.js';
import { sendThrough } from './undici.js';

/** Most redirects that one request follows. */
const MAX_REDIRECTS = 10;
/** Bytes of an unwanted body that are read to keep its connection; beyond that closing is cheaper. */
const DUMP_LIMIT = 64 << 10;

const REDIRECTS = new Set([301, 302, 303, 307, 308]);

/** What is sent with a request. It is opened anew when the request has to be repeated. */
export interface RequestBody {
  /** Exact number of bytes that `open` gives; undefined: known at their end only (sent with Transfer-Encoding: chunked). */
  size: number | undefined;
  open(): Readable | Buffer;
  /** What went wrong in making the body, if anything: an error of its own, not of the connection. */
  failure?: (() => unknown) | undefined;
  /** True while a body that is still being made has nothing to give: that time is not the server's. */
  isStarved?: (() => boolean) | undefined;
}

export interface HttpRequest {
  method: 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';
  url: URL;
  headers?: Record<string, string> | undefined;
  /** Sent to the origin of `url` alone; where a redirect leads elsewhere, they stay behind. */
  privateHeaders?: Record<string, string> | undefined;
  body?: RequestBody | undefined;
  /** The body must not reach another origin, whatever a redirect says. */
  isBodySecret?: boolean | undefined;
  signal?: AbortSignal | undefined;
}

export interface HttpResponse {
  status: number;
  headers: IncomingHttpHeaders;
  /** Where the answer came from, after redirects. */
  url: URL;
  /** To be read to its end, destroyed, or given to `discardBody`. Its errors are raw; `networkError` explains them. */
  body: Readable;
}

/** Sends single HTTP requests: no authentication, no repetition. */
export interface Transport {
  /**
   * Sends `message` and follows redirects: at most MAX_REDIRECTS, never from https to http or from elsewhere to this machine, and without
   * private headers, Authorization and cookies from the first other origin on. Any status is an answer. Errors: UNAVAILABLE, INTERRUPTED.
   */
  send(message: HttpRequest): Promise<HttpResponse>;
  /** Opens `count` connections to the server at `url` for requests to come. Errors are those of `send`. */
  openSpares(url: URL, count: number): Promise<void>;
  close(): Promise<void>;
}

/**
 * A transport with its own connections. The certificates that it trusts and shows are those of `options`, of the one of `endpoints`
 * that a request goes to, and of the machine's directories for that host. Errors name a file that is wrong.
 */
export async function createTransport(
  options: RegistryOptions,
  endpoints: Endpoint[] = [],
): Promise<Transport> {
  const timeouts = { ...DEFAULT_TIMEOUTS, ...options.timeouts };
  const settings = await tlsSettingsFor(options, endpoints);
  const dispatchers = createDispatchers({ timeouts, settings, env: options.env ?? process.env });
  return {
    send: (message) => sendFollowing(dispatchers, message, timeouts),
    async openSpares(url, count) {
      (await dispatchers.for(url)).spares?.open(url, count);
    },
    close: () => dispatchers.destroy(),
  };
}

/** `GET https://host/path`, for messages. */
export function describeRequest(method: string, url: URL): string {
  return `${method} ${url.origin}${url.pathname}`;
}

/** Lets go of a body that nobody wants. */
export async function discardBody({ body }: HttpResponse): Promise<void> {
  try {
    await (body as Dispatcher.ResponseData['body']).dump({ limit: DUMP_LIMIT });
  } catch {
    body.destroy();
  }
}

/** The whole body; LIMIT_EXCEEDED above `limit` bytes, UNAVAILABLE if it breaks off. */
export async function readBody(response: HttpResponse, limit: number, request: string): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let size = 0;
  try {
    for await (const piece of response.body as AsyncIterable<Buffer>) {
      size += piece.length;
      if (size > limit) {
        throw new RafterError('LIMIT_EXCEEDED', `${request}: the answer has more than ${limit} bytes`);
      }
      pieces.push(piece);
    }
  } catch (error) {
    throw networkError(error, request, response.url);
  }
  return Buffer.concat(pieces, size);
}

async function sendFollowing(
  dispatchers: Dispatchers,
  message: HttpRequest,
  timeouts: Timeouts,
): Promise<HttpResponse> {
  let { url } = message;
  let headers = { ...message.headers, ...message.privateHeaders };
  for (let hops = 0; ; hops++) {
    const response = await sendOnce(dispatchers, { ...message, url, headers }, timeouts);
    const mayFollow = message.method === 'GET' || message.method === 'HEAD' || response.status >= 307;
    if (!REDIRECTS.has(response.status) || !mayFollow) return response;
    await discardBody(response);
    const what = describeRequest(message.method, url);
    if (hops >= MAX_REDIRECTS) {
      throw new RafterError('UNAVAILABLE', `${what}: more than ${MAX_REDIRECTS} redirects`, {
        temporary: false,
      });
    }
    const next = redirectTarget(response, what);
    if (next.origin !== url.origin && message.isBodySecret) {
      throw new RafterError('DENIED', `${what}: a redirect to ${next.origin} is not followed with secrets`);
    }
    if (next.origin !== url.origin) headers = withoutCredentials(message.headers ?? {});
    url = next;
  }
}

function redirectTarget({ headers, url }: HttpResponse, what: string): URL {
  const { location } = headers;
  const next =
    location === undefined || !URL.canParse(location, url.href) ? undefined : new URL(location, url);
  if (next === undefined || !/^https?:$/.test(next.protocol)) {
    throw new RafterError('MALFORMED', `${what}: a redirect without a valid Location`);
  }
  if (url.protocol === 'https:' && next.protocol === 'http:') {
    throw new RafterError('DENIED', `${what}: a redirect from https to http (${next.host}) is not followed`);
  }
  if (isOnlyHere(next.hostname) && !isInside(url)) {
    throw new RafterError('DENIED', `${what}: a redirect to this machine (${next.host}) is not followed`);
  }
  // A URL with a user name in it would send it as credentials.
  next.username = '';
  next.password = '';
  return next;
}

function withoutCredentials(headers: Record<string, string>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).filter(([name]) => !['authorization', 'cookie'].includes(name.toLowerCase())),
  );
}

async function sendOnce(
  dispatchers: Dispatchers,
  message: HttpRequest,
  timeouts: Timeouts,
): Promise<HttpResponse> {
  const { method, url, signal, body } = message;
  const { dispatcher, proxy } = await dispatchers.for(url);
  const upload = body === undefined ? undefined : watchUpload(body, signal, timeouts);
  const what = describeRequest(method, url);
  try {
    const sending = sendThrough(dispatcher, url, {
      method,
      headers: {
        'user-agent': 'rafter',
        'accept-encoding': 'identity',
        ...message.headers,
        ...(body?.size === undefined ? {} : { 'content-length': String(body.size) }),
      },
      bodyTimeout: timeouts.idleMs,
      ...(upload === undefined
        ? { signal: signal ?? null, headersTimeout: timeouts.answerMs }
        : // undici counts this from the beginning of an upload; the watch counts from its last byte.
          { body: upload.content, signal: upload.signal, headersTimeout: 0 }),
    });
    // undici hears of the signal once there is a connection.
    const answer = await orAborted(sending, what, signal);
    // Whoever reads the body gets its errors; one that is let go of unread must not end the program with them.
    answer.body.on('error', () => {});
    return { status: answer.statusCode, headers: answer.headers, url, body: answer.body };
  } catch (error) {
    if (signal?.aborted) throw new RafterError('INTERRUPTED', `${what}: interrupted`, { cause: error });
    const refused = /^Proxy (?:response|Authentication Required) \((\d+)\)/.exec(messageOf(error))?.[1];
    if (proxy !== undefined && refused !== undefined) throw proxyRefusal(what, proxy, Number(refused), error);
    const via = proxy === undefined ? '' : ` (through the proxy ${proxy})`;
    throw networkError(body?.failure?.() ?? upload?.stalled() ?? error, `${what}${via}`, url);
  } finally {
    upload?.end();
  }
}

function proxyRefusal(what: string, proxy: string, status: number, cause: unknown): RafterError {
  const isServerError = status >= 500;
  const said = `${what}: the proxy ${proxy} answered ${status}`;
  const hint =
    status === 407
      ? 'it wants a user name and password, e.g. HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT'
      : 'it does not let this through; NO_PROXY names hosts that are to be reached without it';
  return new RafterError(isServerError ? 'UNAVAILABLE' : 'DENIED', said, {
    cause,
    ...(!isServerError && { hint }),
  });
}

interface UploadWatch {
  content: Readable | Buffer;
  signal: AbortSignal;
  /** Set if the watch ended the request. */
  stalled(): Error | undefined;
  end(): void;
}

/** Ends an upload when no byte of it moved for `idleMs`, or the answer is missing `answerMs` after its last byte. */
function watchUpload(body: RequestBody, outer: AbortSignal | undefined, timeouts: Timeouts): UploadWatch {
  const controller = new AbortController();
  const content = body.open();
  let lastMove = Date.now();
  let sent = 0;
  let isAllRead = false;
  let stalled: Error | undefined;
  if (!Buffer.isBuffer(content)) {
    content.once('end', () => {
      isAllRead = true;
      lastMove = Date.now();
    });
    content.on('data', (piece: Buffer) => {
      sent += piece.length;
      lastMove = Date.now();
    });
    // The listener must not start the flow before undici reads.
    content.pause();
  }
  const timer = setInterval(
    () => {
      if (body.isStarved?.()) lastMove = Date.now();
      const isWaiting = Buffer.isBuffer(content) || isAllRead || sent === body.size;
      const limit = isWaiting ? timeouts.answerMs : timeouts.idleMs;
      if (Date.now() - lastMove <= limit) return;
      stalled = new Error(isWaiting ? 'no answer to the upload' : 'the upload does not move');
      controller.abort(stalled);
    },
    Math.min(1000, timeouts.idleMs / 2, timeouts.answerMs / 2),
  );
  const forward = () => controller.abort(outer?.reason);
  if (outer?.aborted) forward();
  else outer?.addEventListener('abort', forward, { once: true });
  return {
    content,
    signal: controller.signal,
    stalled: () => stalled,
    end() {
      clearInterval(timer);
      outer?.removeEventListener('abort', forward);
      if (!Buffer.isBuffer(content)) content.destroy();
    },
  };
}
