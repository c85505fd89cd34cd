import type { buildConnector, Dispatcher } from 'undici';
import sendRequest from 'undici/lib/api/api-request.js';
import createConnector from 'undici/lib/core/connect.js';
import ConnectionPool from 'undici/lib/dispatcher/pool.js';

/*
 * The few parts of undici that a client of registries needs. Its main file also compiles caches, mocks, cookies, fetch and
 * WebSocket, which takes longer than all else that a short command does. These files are no public interface: the version is pinned,
 * and a test compares them with what the main file exports.
 */

/** `ConnectionPool` is undici's pool of connections to one origin, `createConnector` its maker of functions that open connections. */
export { ConnectionPool, createConnector };

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
