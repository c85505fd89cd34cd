import './wasm-flags.js';
import type { ProxyAgent as Agent } from 'undici';
import ProxyAgent from 'undici/lib/dispatcher/proxy-agent.js';

/** undici's client of a proxy, which few need: it is loaded where one is in the way (see `undici.ts`). */
export function createProxyAgent(options: Agent.Options): Agent {
  return new ProxyAgent(options);
}
