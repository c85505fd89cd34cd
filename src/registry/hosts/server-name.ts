import { RafterError } from '../../errors.js';
import { isLoopback } from './origin.js';

/** Docker Hub's API is served by another host than the one that users name. */
const HUB_ALIASES = ['docker.io', 'index.docker.io', 'registry-1.docker.io'];
const HUB_API = 'registry-1.docker.io';

/** The host that serves the API of the registry that users call `host`. */
export function apiHost(host: string): string {
  return HUB_ALIASES.includes(host) ? HUB_API : host;
}

/** What users call the registry whose API is at `host`. */
export function familiarHost(host: string): string {
  return HUB_ALIASES.includes(host) ? 'docker.io' : host;
}

/**
 * A server of a configuration file: a URL, or a host (then https, for this machine http). MALFORMED names `what`, not the
 * text: a password may be in it.
 */
export function parseServer(text: string, what: string): URL {
  const host = text.split('/')[0]!;
  const full = /^https?:\/\//i.test(text) ? text : `${isLoopback(host) ? 'http' : 'https'}://${text}`;
  const url = URL.canParse(full) ? new URL(full) : undefined;
  if (
    url === undefined ||
    url.username !== '' ||
    url.password !== '' ||
    url.search !== '' ||
    url.hash !== ''
  ) {
    throw new RafterError('MALFORMED', `${what} is not a server as in https://mirror.example.com:5000`);
  }
  url.host = apiHost(url.host);
  return url;
}
