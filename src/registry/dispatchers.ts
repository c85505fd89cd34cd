import type { SecureContext } from 'node:tls';
import type { Dispatcher } from 'undici';
import { errnoOf, hideSecret } from '../errors.js';
import { isCertificateError } from './error.js';
import type { TlsSettings } from './hosts/endpoint.js';
import { createLargeReads } from './large-reads.js';
import type { Timeouts } from './options.js';
import { proxyFor } from './proxies.js';
import { createSpareConnections, type SpareConnections } from './spare-connections.js';
import { readTrust, type Trust } from './trust.js';
import { ConnectionPool, type Connector, createConnector } from './undici.js';
import { compileWasmOnce } from './wasm-flags.js';

/** Connections held open to one origin at a time. */
const MAX_CONNECTIONS = 16;

interface Connections {
  dispatcher: Dispatcher;
  /** The proxy that they go through, without user name and password. */
  proxy: string | undefined;
  /** Connections that nobody needs yet; none through a proxy. */
  spares?: SpareConnections;
}

/** Pools of connections, one per origin. */
export interface Dispatchers {
  /** The pool for the origin of `url`. Errors name a file of certificates or a variable with a proxy that is wrong. */
  for(url: URL): Promise<Connections>;
  destroy(): Promise<void>;
}

export interface DispatchersOptions {
  timeouts: Timeouts;
  env: NodeJS.ProcessEnv;
  /** How the server at `url` is to be trusted. */
  settings(url: URL): Promise<{ tls: TlsSettings; connectMs?: number | undefined }>;
}

export function createDispatchers(options: DispatchersOptions): Dispatchers {
  const pools = new Map<string, Promise<Connections>>();
  return {
    for(url) {
      let pool = pools.get(url.origin);
      if (pool === undefined) {
        pool = open(url, options);
        pools.set(url.origin, pool);
        // A file may be mended until the next request.
        pool.catch(() => pools.delete(url.origin));
      }
      return pool;
    },
    async destroy() {
      const open = await Promise.allSettled(pools.values());
      pools.clear();
      for (const result of open) if (result.status === 'fulfilled') result.value.spares?.close();
      // Destroyed, not closed: an answer nobody reads must not hold up the end of the program.
      await Promise.all(
        open.map((result) => (result.status === 'fulfilled' ? result.value.dispatcher.destroy() : undefined)),
      );
    },
  };
}

async function open(url: URL, { timeouts, env, settings }: DispatchersOptions): Promise<Connections> {
  const { tls, connectMs = timeouts.connectMs } = await settings(url);
  compileWasmOnce();
  const proxy = proxyFor(url, env);
  const isTls = url.protocol === 'https:';
  if (proxy !== undefined) {
    const { protocol, host } = proxy;
    hidePassword(proxy);
    const context = isTls ? await (await readTrust(tls, env)).all() : undefined;
    const secure = context && { secureContext: context, rejectUnauthorized: !tls.skipVerify };
    const openThrough = protocol.startsWith('socks') ? openSocks : openProxy;
    const dispatcher = await openThrough(proxy, { url, secure, connectMs, env });
    return { dispatcher, proxy: `${protocol}//${host}` };
  }
  const connect = isTls
    ? trustingConnector(await readTrust(tls, env), tls, connectMs)
    : createLargeReads(connectMs);
  const spares = createSpareConnections(connect);
  const dispatcher = openPool(url.origin, { connect: spares.connect });
  return { dispatcher, proxy: undefined, spares };
}

interface ProxyOptions {
  url: URL;
  /** How a server with TLS is to be trusted; undefined for one without. */
  secure: { secureContext: SecureContext; rejectUnauthorized: boolean } | undefined;
  connectMs: number;
  env: NodeJS.ProcessEnv;
}

/** HTTPS goes through a tunnel (CONNECT), HTTP as a request to the proxy: many proxies tunnel to port 443 only. */
async function openProxy(proxy: URL, { secure, connectMs, env }: ProxyOptions): Promise<Dispatcher> {
  const own = await readTrust({ ca: [], clients: [], skipVerify: false }, env);
  const bare = new URL(proxy);
  bare.username = bare.password = '';
  const { createProxyAgent } = await import('./undici-proxy.js');
  return createProxyAgent({
    connections: MAX_CONNECTIONS,
    uri: bare.href,
    proxyTunnel: false,
    ...(proxy.username !== '' && { token: proxyToken(proxy) }),
    requestTls: { timeout: connectMs, ...secure },
    proxyTls: {
      timeout: connectMs,
      ...(proxy.protocol === 'https:' && { secureContext: await own.all() }),
    },
    factory: openPool,
    clientFactory: (origin, options) => openPool(origin, { ...options, headersTimeout: connectMs }),
  });
}

async function openSocks(proxy: URL, { url, secure, connectMs }: ProxyOptions): Promise<Dispatcher> {
  const { createSocksConnector } = await import('./socks.js');
  const connect = createSocksConnector(proxy, {
    timeout: connectMs,
    secure: secure && createConnector({ timeout: connectMs, ...secure }),
  });
  return openPool(url.origin, { connect });
}

function proxyToken({ username, password }: URL): string {
  const login = `${decodeURIComponent(username)}:${decodeURIComponent(password)}`;
  return `Basic ${Buffer.from(login).toString('base64')}`;
}

function hidePassword(proxy: URL): void {
  if (proxy.password === '') return;
  hideSecret(decodeURIComponent(proxy.password), proxy.password, proxyToken(proxy).slice('Basic '.length));
}

/** Connections to one origin. How long answers may take, each request says. */
function openPool(origin: string | URL, options: object): Dispatcher {
  return new ConnectionPool(origin, { ...options, connections: MAX_CONNECTIONS });
}

/**
 * Connects with the small set of authorities first, and with all of them once a server turned out to need that: reading the
 * machine's store takes longer than most requests.
 */
function trustingConnector(trust: Trust, tls: TlsSettings, timeout: number): Connector {
  const withContext = (secureContext: SecureContext) =>
    createConnector({ timeout, secureContext, rejectUnauthorized: !tls.skipVerify });
  const first = withContext(trust.first);
  let full: Connector | undefined;
  return (options, callback) => {
    if (full !== undefined || tls.skipVerify) return (full ?? first)(options, callback);
    first(options, (error, socket) => {
      if (error === null) return callback(null, socket);
      if (!isCertificateError(errnoOf(error) ?? '')) return callback(error, null);
      trust.all().then(
        (context) => {
          full ??= withContext(context);
          full(options, callback);
        },
        (problem: Error) => callback(problem, null),
      );
    });
  };
}
