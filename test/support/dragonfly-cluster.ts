import { resolve } from 'node:path';

/** Dragonfly itself, without a manager: a scheduler, a seed peer and peers. */
export interface DragonflyCluster {
  /** Proxy of the first peer. */
  url: string;
  /** Proxies of all peers. */
  urls: string[];
  /** Ends one of its programs at once. */
  kill(name: 'scheduler' | 'seed' | 'peer'): Promise<void>;
  /** Ends all and removes what they kept. */
  stop(): Promise<void>;
}

/**
 * Starts a cluster on free loopback ports. `registry` (a URL) is what it takes for the registry of requests that name none; `ca` the file of
 * the authority that it is told to trust registries by.
 */
export async function startDragonfly(
  programs: { scheduler: string; dfdaemon: string },
  registry: string,
  options: { peers?: number; ca?: string } = {},
): Promise<DragonflyCluster> {
  const { startDragonfly: start } = await import(resolve(import.meta.dirname, '../bench/dragonfly.mjs'));
  const { urls, kill, stop } = await start(programs, registry, options);
  return { url: urls[0], urls, kill, stop };
}
