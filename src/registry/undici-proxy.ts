import type { ProxyAgent as Agent } from 'undici';
import connect from 'undici/lib/api/api-connect.js';
import ConnectionPool from 'undici/lib/dispatcher/pool.js';
import ProxyAgent from 'undici/lib/dispatcher/proxy-agent.js';

// A tunnel is asked for with a method that only undici's main file gives to its pools.
Object.assign(ConnectionPool.prototype, { connect });

/** undici's client of a proxy, which few need: it is loaded where one is in the way (see `undici.ts`). */
export function createProxyAgent(options: Agent.Options): Agent {
  return new ProxyAgent(options);
}
