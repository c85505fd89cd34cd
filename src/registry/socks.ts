import type { Socket } from 'node:net';
import socks from 'undici/lib/core/socks5-client.js';
import { errnoOf, RafterError } from '../errors.js';
import { type Connector, createConnector } from './undici.js';

interface SocksOptions {
  /** Milliseconds that the proxy has to bring about a connection, and then the server for TLS. */
  timeout: number;
  /** Puts TLS over a connection, for servers that have it. */
  secure?: Connector | undefined;
}

interface Login {
  username: string;
  password: string;
}

/**
 * Opens connections through the SOCKS5 proxy at `proxy` (RFC 1928), with its user name and password if it has them (RFC 1929). The
 * proxy looks names up.
 */
export function createSocksConnector(proxy: URL, { timeout, secure }: SocksOptions): Connector {
  const connect = createConnector({ timeout });
  const place = {
    host: proxy.host,
    hostname: proxy.hostname.replace(/^\[|\]$/g, ''),
    protocol: 'http:',
    port: proxy.port || '1080',
  };
  const login = {
    username: decodeURIComponent(proxy.username),
    password: decodeURIComponent(proxy.password),
  };
  return (options, callback) => {
    const { hostname, port, protocol } = options;
    const target = { hostname, port: Number(port) || (protocol === 'https:' ? 443 : 80) };
    connect(place, (error, socket) => {
      if (error !== null) return callback(error, null);
      openTunnel(socket, target, { login, timeout }).then(
        () =>
          secure === undefined
            ? callback(null, socket)
            : secure({ ...options, httpSocket: socket }, callback),
        (problem: Error) => {
          socket.destroy();
          const isRefused = errnoOf(problem)?.startsWith('UND_ERR_SOCKS5_AUTH') === true;
          callback(isRefused ? refusal(proxy, problem) : problem, null);
        },
      );
    });
  };
}

/** Lets the proxy at the other end of `socket` connect it with `target`. Rejects with undici's errors. */
function openTunnel(
  socket: Socket,
  target: { hostname: string; port: number },
  { login, timeout }: { login: Login; timeout: number },
): Promise<void> {
  return new Promise((resolve, reject) => {
    const client = new socks.Socks5Client(socket, login);
    const timer = setTimeout(() => reject(new Error('the SOCKS5 proxy does not answer')), timeout);
    const settle = (done: () => void) => {
      clearTimeout(timer);
      done();
    };
    // Later errors of the socket are its user's.
    client.on('error', (error: Error) => settle(() => reject(error)));
    client.on('close', () => settle(() => reject(new Error('the SOCKS5 proxy hung up'))));
    client.on('authenticated', () => client.connect(target.hostname, target.port));
    client.on('connected', () => settle(resolve));
    client.handshake();
  });
}

function refusal(proxy: URL, cause: Error): RafterError {
  return new RafterError(
    'DENIED',
    `the proxy ${proxy.protocol}//${proxy.host} refused user name and password`,
    {
      cause,
      hint: 'it wants others, e.g. ALL_PROXY=socks5://USER:PASSWORD@HOST:PORT',
    },
  );
}
