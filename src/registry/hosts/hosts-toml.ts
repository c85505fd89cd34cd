import { dirname, join, resolve } from 'node:path';
import * as v from 'valibot';
import { hideSecret, RafterError } from '../../errors.js';
import { readCertsDir } from './certs-dir.js';
import { readToml } from './config-file.js';
import { type Endpoint, NO_TLS_SETTINGS, type TlsSettings } from './endpoint.js';
import { apiHost, parseServer } from './server-name.js';

/** Most hosts that one file may name. */
export const MAX_HOSTS = 64;

const textOrTexts = v.union([v.string(), v.array(v.string())]);
const hostEntries = {
  capabilities: v.optional(v.array(v.string())),
  ca: v.optional(textOrTexts),
  client: v.optional(v.union([v.string(), v.array(v.union([v.string(), v.array(v.string())]))])),
  skip_verify: v.optional(v.boolean()),
  header: v.optional(v.record(v.string(), textOrTexts)),
  override_path: v.optional(v.boolean()),
  dial_timeout: v.optional(v.string()),
};
const hostSchema = v.object(hostEntries);
const fileSchema = v.object({
  ...hostEntries,
  server: v.optional(v.string()),
  host: v.optional(v.record(v.string(), hostSchema)),
});
type Host = v.InferOutput<typeof hostSchema>;

export interface HostsTomlQuery {
  /** Directory with a directory per host. */
  hostsDir: string;
  /** The host as users name it, e.g. `docker.io` or `registry.example.com:5000`. */
  host: string;
  /** What the registry itself is reached by unless the file has a `server`. */
  origin: Endpoint;
}

/**
 * The endpoints that containerd's `hosts.toml` for a host has, the registry itself last; undefined if there is none. The file
 * is looked for in `HOST:PORT`, `HOST_PORT_` and `_default`. A directory without the file may hold certificates, as for Docker.
 * MALFORMED, LIMIT_EXCEEDED name file and field.
 */
export async function readHostsToml({
  hostsDir,
  host,
  origin,
}: HostsTomlQuery): Promise<Endpoint[] | undefined> {
  const underscored = host.replace(/:(\d+)$/, '_$1_');
  for (const name of new Set([underscored, host, '_default'])) {
    const directory = join(hostsDir, name);
    const path = join(directory, 'hosts.toml');
    // containerd runs as root, and its configuration may be for root alone.
    const file = await readToml(path, fileSchema, { skipsUnreadable: true });
    if (file !== undefined) return endpointsOf(file, { path, host, origin });
    const { ca, clients } = await readCertsDir(directory);
    if (ca.length + clients.length > 0) return [{ ...origin, tls: { ca, clients, skipVerify: false } }];
  }
  return undefined;
}

function endpointsOf(
  file: v.InferOutput<typeof fileSchema>,
  { path, host, origin }: { path: string; host: string; origin: Endpoint },
): Endpoint[] {
  const mirrors = Object.entries(file.host ?? {});
  if (mirrors.length > MAX_HOSTS) {
    throw new RafterError('LIMIT_EXCEEDED', `${path}: ${mirrors.length} hosts, more than ${MAX_HOSTS}`);
  }
  const { repository } = origin;
  return [
    ...mirrors.map(([server, settings]): Endpoint => {
      const field = `host.${JSON.stringify(server)}`;
      const api = apiOf(server, settings, `${path}: ${field}`);
      const capabilities = settings.capabilities ?? ['pull', 'resolve', 'push'];
      return {
        api,
        repository,
        isMirror: true,
        reads: { byTag: capabilities.includes('resolve'), byDigest: capabilities.includes('pull') },
        namespace: namespaceFor(api, host),
        ...settingsOf(settings, path, field),
      };
    }),
    rootEndpoint(file, { path, host, origin }),
  ];
}

function rootEndpoint(
  file: v.InferOutput<typeof fileSchema>,
  { path, host, origin }: { path: string; host: string; origin: Endpoint },
): Endpoint {
  const api = file.server === undefined ? origin.api : apiOf(file.server, file, `${path}: server`);
  return { ...origin, api, namespace: namespaceFor(api, host), ...settingsOf(file, path, 'the file') };
}

/** containerd tells servers of another name which registry they are asked for. */
function namespaceFor(api: URL, host: string): string | undefined {
  return api.host === apiHost(host) ? undefined : host;
}

function apiOf(server: string, { override_path }: Host, what: string): URL {
  const url = parseServer(server, what);
  const path = url.pathname.replace(/\/+$/, '');
  url.pathname = override_path || path.endsWith('/v2') ? path : `${path}/v2`;
  return url;
}

function settingsOf(
  host: Host,
  path: string,
  field: string,
): Pick<Endpoint, 'headers' | 'tls' | 'connectMs'> {
  const headers = Object.entries(host.header ?? {}).map(([name, value]) => {
    const text = [value].flat().join(', ');
    // Authorization is one of those that people write there.
    hideSecret(text, ...[value].flat());
    if (/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/.test(name) && /^[\t\x20-\x7e\x80-\xff]*$/.test(text))
      return [name, text];
    throw new RafterError('MALFORMED', `${path}: ${field}: a header that HTTP does not allow`);
  });
  return {
    headers: Object.fromEntries(headers),
    tls: tlsOf(host, path, field),
    connectMs:
      host.dial_timeout === undefined ? undefined : parseDuration(host.dial_timeout, `${path}: ${field}`),
  };
}

function tlsOf({ ca, client, skip_verify }: Host, path: string, field: string): TlsSettings {
  const file = (name: string) => resolve(dirname(path), name);
  const pairs = [client ?? []].flat().map((item) => [item].flat());
  if (pairs.some(({ length }) => length < 1 || length > 2)) {
    throw new RafterError(
      'MALFORMED',
      `${path}: ${field}: client is a file, or pairs of certificate and key`,
    );
  }
  return {
    ...NO_TLS_SETTINGS,
    ca: [ca ?? []].flat().map(file),
    clients: pairs.map(([cert = '', key = cert]) => ({ cert: file(cert), key: file(key) })),
    skipVerify: skip_verify ?? false,
  };
}

const UNITS_MS: Record<string, number> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

/** Milliseconds of a duration as Go writes it, e.g. `1m30s`. */
function parseDuration(text: string, what: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/g)];
  const total = parts.reduce((sum, [, count, unit]) => sum + Number(count) * UNITS_MS[unit!]!, 0);
  if (parts.map(([part]) => part).join('') === text && total > 0 && total < 2 ** 31) return total;
  throw new RafterError('MALFORMED', `${what}: dial_timeout is not a duration as in "30s"`);
}
