import { RafterError } from '../../errors.js';
import type { RegistryOptions } from '../options.js';
import { readPem } from '../trust.js';
import { readCertsDirs } from './certs-dir.js';
import type { Endpoint, TlsSettings } from './endpoint.js';
import { hostPlaces } from './places.js';

/** Finds what applies to the server that a URL leads to. */
type SettingsOf = (url: URL) => Promise<{ tls: TlsSettings; connectMs?: number | undefined }>;

/**
 * What servers are trusted by. Each one of `endpoints` (the registry itself last) has its own settings; other servers, which
 * redirects and token realms lead to, are trusted by the registry's authorities as well. A client certificate is shown only
 * to the hosts that it is configured for. The files of `options` are looked at now: NOT_FOUND, MALFORMED, USAGE.
 */
export async function tlsSettingsFor(options: RegistryOptions, endpoints: Endpoint[]): Promise<SettingsOf> {
  const { caFile, certFile, keyFile } = options;
  if ((certFile === undefined) !== (keyFile === undefined)) {
    throw new RafterError('USAGE', 'a client certificate needs both its file and its key file');
  }
  await Promise.all([caFile, certFile, keyFile].map((path) => path && readPem(path)));
  const { certsDirs } = { ...hostPlaces(options.env ?? process.env), ...options.places };
  const registry = endpoints.at(-1);
  const given = certFile === undefined || keyFile === undefined ? [] : [{ cert: certFile, key: keyFile }];

  return async (url) => {
    const endpoint =
      endpoints.find(({ api }) => api.origin === url.origin) ??
      endpoints.find(({ api }) => api.hostname === url.hostname);
    const isRegistry = registry === undefined || registry.api.hostname === url.hostname;
    const own = await readCertsDirs(certsDirs, url.host);
    const trusted =
      endpoint === undefined && registry !== undefined ? await registryAuthorities(registry) : [];
    return {
      tls: {
        ca: [...(caFile === undefined ? [] : [caFile]), ...(endpoint?.tls.ca ?? []), ...own.ca, ...trusted],
        clients: [...(isRegistry ? given : []), ...(endpoint?.tls.clients ?? []), ...own.clients],
        skipVerify: endpoint?.api.origin === url.origin && endpoint.tls.skipVerify,
      },
      connectMs: endpoint?.connectMs,
    };
  };

  async function registryAuthorities({ api, tls }: Endpoint): Promise<string[]> {
    return [...tls.ca, ...(await readCertsDirs(certsDirs, api.host)).ca];
  }
}
