import { RafterError } from '../../errors.js';
import type { RegistryReference } from '../../image/reference.js';
import type { RegistryOptions } from '../options.js';
import { type Endpoint, NO_TLS_SETTINGS, plainEndpoint } from './endpoint.js';
import { readHostsToml } from './hosts-toml.js';
import { askedPlainHttp, originApi } from './origin.js';
import { hostPlaces } from './places.js';
import { findRegistryRule, type RegistryRule } from './registries-conf.js';
import { familiarHost, parseServer } from './server-name.js';

/**
 * The servers that answer for the repository of `reference`, in the order in which reads try them: mirrors, and last the registry
 * itself, which is always there and the only one that is written to. containerd's hosts.toml decides if there is one
 * for the host, else registries.conf. DENIED if registries.conf blocks the repository, whatever else is configured.
 */
export async function findEndpoints(
  { registry, repository }: Pick<RegistryReference, 'registry' | 'repository'>,
  options: RegistryOptions,
): Promise<[...Endpoint[], Endpoint]> {
  const places = { ...hostPlaces(options.env ?? process.env), ...options.places };
  const host = familiarHost(registry);
  const origin = plainEndpoint(originApi(registry, options), repository);
  // At the same time, although a registry that is blocked makes no difference how it would be reached.
  const reading = readHostsToml({ hostsDir: places.hostsDir, host, origin });
  reading.catch(() => {});
  const rule = await findRegistryRule(places, `${host}/${repository}`);
  if (rule?.blocked) {
    throw new RafterError('DENIED', `${host}/${repository}: this registry is blocked`, {
      hint: `${rule.path} says so`,
    });
  }
  const hosts = await reading;
  const found = hosts ?? (rule === undefined ? [origin] : endpointsOfRule(rule));
  return [...found.slice(0, -1), withAskedScheme(found.at(-1)!, registry, options)];
}

/** What the caller asks for explicitly is about the registry itself and comes before every file. */
function withAskedScheme(endpoint: Endpoint, registry: string, options: RegistryOptions): Endpoint {
  const { caFile, certFile } = options;
  const plainHttp = askedPlainHttp(registry, options);
  if (plainHttp === undefined && caFile === undefined && certFile === undefined) return endpoint;
  const api = new URL(endpoint.api);
  api.protocol = plainHttp ? 'http:' : 'https:';
  return { ...endpoint, api, mayBePlain: false };
}

function endpointsOfRule({ path, location, mirrors }: RegistryRule): Endpoint[] {
  const endpointOf = (name: string, insecure: boolean): Endpoint => {
    const server = parseServer(name, `${path}: the location of a registry or mirror`);
    const repository = server.pathname.replace(/^\/+/, '');
    server.pathname = '/v2';
    return {
      ...plainEndpoint(server, repository),
      ...(insecure && {
        tls: { ...NO_TLS_SETTINGS, skipVerify: true },
        mayBePlain: server.protocol === 'https:',
      }),
    };
  };
  return [
    ...mirrors.map(({ name, insecure, reads }) => ({ ...endpointOf(name, insecure), isMirror: true, reads })),
    endpointOf(location.name, location.insecure),
  ];
}
