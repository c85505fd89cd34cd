import type { ProxyAgent as Agent, Dispatcher } from 'undici';
import connect from 'undici/lib/api/api-connect.js';
import ConnectionPool from 'undici/lib/dispatcher/pool.js';
import ProxyAgent from 'undici/lib/dispatcher/proxy-agent.js';
import { errnoOf } from '../errors.js';

// A tunnel is asked for with a method that only undici's main file gives to its pools.
Object.assign(ConnectionPool.prototype, {
  async connect(this: Dispatcher, ...args: unknown[]) {
    try {
      return await connect.call(this, ...args);
    } catch (error) {
      // For one that ends like this undici makes a new connection at once, for ever.
      if (errnoOf(error) === 'UND_ERR_SOCKET') throw new Error('the proxy hung up', { cause: error });
      throw error;
    }
  },
});

/** undici's client of a proxy, which few need: it is loaded where one is in the way (see `undici.ts`). */
export function createProxyAgent(options: Agent.Options): Agent {
  return new ProxyAgent(options);
}
