import { createRequire } from 'node:module';
import { setFlagsFromString } from 'node:v8';
import type { buildConnector, Dispatcher, Pool, ProxyAgent } from 'undici';

/**
 * The few parts of undici that a client of registries needs. Its main file also compiles caches, mocks, cookies, fetch and
 * WebSocket, which takes longer than all else that a short command does. These files are no public interface: the version is pinned,
 * and a test compares them with what the main file exports.
 */
// undici's parser of HTTP is WebAssembly. V8 would compile it a second time, optimized, which needs 30 MB and more CPU time than the
// parser itself has to do in a transfer of gigabytes: bodies pass it in one step.
setFlagsFromString('--liftoff-only');

const require = createRequire(import.meta.url);

type Undici = typeof import('undici');

/** undici's pool of connections to one origin. */
export const ConnectionPool: typeof Pool = require('undici/lib/dispatcher/pool.js');

/** undici's maker of functions that open connections. */
export const createConnector: Undici['buildConnector'] = require('undici/lib/core/connect.js');

const sendRequest: (
  this: Dispatcher,
  options: Dispatcher.RequestOptions,
) => Promise<Dispatcher.ResponseData> = require('undici/lib/api/api-request.js');

/** Opens connections as `createConnector` made it. */
export type Connector = buildConnector.connector;

/** One HTTP request through `dispatcher`; resolves when the headers of its answer are there. Errors are undici's. */
export function sendThrough(
  dispatcher: Dispatcher,
  url: URL,
  options: Omit<Dispatcher.RequestOptions, 'origin' | 'path'>,
): Promise<Dispatcher.ResponseData> {
  return sendRequest.call(dispatcher, {
    ...options,
    origin: url.origin,
    path: `${url.pathname}${url.search}`,
  });
}

/** undici's client of a proxy. It needs all of undici, which is loaded here. */
export function createProxyAgent(options: ProxyAgent.Options): ProxyAgent {
  const undici: Undici = require('undici');
  return new undici.ProxyAgent(options);
}
