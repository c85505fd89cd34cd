import { isRafterError, RafterError } from '../errors.js';
import { createEndpointClient, type EndpointClient, type RepositoryRequest } from './endpoint-client.js';
import { RegistryError } from './error.js';
import type { Endpoint } from './hosts/endpoint.js';
import { withKnownScheme } from './known-scheme.js';
import type { RegistryOptions } from './options.js';
import { orAborted } from './or-aborted.js';
import type { Peers } from './peers.js';
import { asTemporary, watchBody } from './server-faults.js';
import { describeRequest, discardBody, type HttpResponse, type Transport } from './transport.js';

/** How long a mirror that failed is asked only after everybody else, in milliseconds. */
const SET_ASIDE_MS = 60_000;

/** An answer, and whose it is. */
export interface ServerAnswer {
  response: HttpResponse;
  /** `GET https://host/path` as it was asked, for messages. */
  request: string;
  /**
   * What to throw because the answer turned out wrong with `error`. A mirror is set aside then, and the error is a temporary one:
   * the next attempt asks another server, unless wrong bytes came from one that was asked because nobody else answered. For an answer of
   * the registry itself it is `error`.
   */
  fault(error: unknown): unknown;
  /** To be told of the bytes of a blob's body as they come. */
  arrived(count: number): void;
}

/** The servers of one repository. */
export interface Servers {
  /**
   * The answer with one of the statuses `expect`. Reads of blobs go to the peers first, if they serve. Reads go to the mirrors first, in order, and to the registry last; everything
   * else to the registry. Only an answer of success is taken from a mirror. Errors are the registry's.
   */
  ask(request: RepositoryRequest, expect: number[]): Promise<ServerAnswer>;
  /** Opens `count` connections to who is asked first for blobs. Errors are those of `ask`. */
  openSpares(count: number): Promise<void>;
}

export interface ServersOptions {
  /** The registry itself is the last. */
  endpoints: Endpoint[];
  transport: Transport;
  options: RegistryOptions;
  /** Who is asked for blobs before all servers. */
  peers?: Peers | undefined;
  /** Makes the error of an answer that was not expected, whose body nobody has read. */
  refusal(request: string, response: HttpResponse, client: EndpointClient): Promise<RegistryError>;
}

interface Server {
  endpoint: Endpoint;
  client: Promise<EndpointClient> | undefined;
  /** Milliseconds since the epoch. */
  asideUntil: number;
}

export function createServers({ endpoints, transport, options, refusal, peers }: ServersOptions): Servers {
  const servers = endpoints.map((endpoint): Server => ({ endpoint, client: undefined, asideUntil: 0 }));
  const registry = servers.at(-1)!;

  const arrived = (count: number) => options.onTraffic?.({ kind: 'bytes', from: 'registry', count });

  /** Made once, and not tied to the signal of whoever asks first: others wait for it, too. */
  function clientOf(server: Server, signal: AbortSignal | undefined): Promise<EndpointClient> {
    if (server.client === undefined) {
      const client = withKnownScheme(server.endpoint, transport).then((endpoint) =>
        createEndpointClient(endpoint, { transport, options }),
      );
      server.client = client;
      client.catch(() => {
        server.client = undefined;
      });
    }
    return orAborted(server.client, `asking ${server.endpoint.api.host}`, signal);
  }

  async function askOne(
    server: Server,
    request: RepositoryRequest,
    { expect, isLastResort }: { expect: number[]; isLastResort: boolean },
  ): Promise<ServerAnswer> {
    const client = await clientOf(server, request.signal);
    const what = describeRequest(request.method, client.url(request));
    const response = await client.send(request);
    if (!expect.includes(response.status)) throw await refusal(what, response, client);
    const { isMirror } = server.endpoint;
    if (isMirror && response.status >= 300) {
      await discardBody(response);
      throw new RafterError('NOT_FOUND', `${what}: the mirror answered ${response.status}`);
    }
    if (isMirror) watchBody(response.body, () => setAside(server));
    const fault = (error: unknown) => {
      if (!isMirror || isRafterError(error, 'INTERRUPTED')) return error;
      setAside(server);
      const judged = asTemporary(error, what, `the mirror ${server.endpoint.api.host}`);
      // Everybody else was asked before, and it would be this one again.
      const isFinal = isLastResort && isRafterError(error, 'DIGEST_MISMATCH');
      return isFinal ? new RafterError(judged.code, judged.message, { cause: error }) : judged;
    };
    return { response, request: what, fault, arrived };
  }

  return {
    async ask(request, expect) {
      const carried = await peers?.ask(request, expect, () => clientOf(registry, request.signal));
      if (carried !== undefined) return carried;
      const failures: unknown[] = [];
      let isLastResort = false;
      for (const server of serversFor(request, servers)) {
        try {
          return await askOne(server, request, { expect, isLastResort });
        } catch (error) {
          if (server === registry) {
            // What the registry itself says is final; if it cannot be reached, mirrors that failed before are better than nothing.
            if (!isRafterError(error, 'UNAVAILABLE')) throw error;
            failures.unshift(error);
            isLastResort = true;
            continue;
          }
          if (isRafterError(error, 'INTERRUPTED')) throw error;
          if (!isRafterError(error, 'NOT_FOUND')) setAside(server);
          failures.push(error);
        }
      }
      throw withMirrors(failures);
    },
    async openSpares(count) {
      const [first] = serversFor({ method: 'GET', path: 'blobs/:', access: 'pull' }, servers);
      const { endpoint } = await clientOf(first!, undefined);
      await transport.openSpares(endpoint.api, count);
    },
  };
}

/** Mirrors that may be asked, the registry, then mirrors that failed a short time ago. */
function serversFor(request: RepositoryRequest, servers: Server[]): Server[] {
  const registry = servers.at(-1)!;
  const { method, path, access } = request;
  const isRead = access === 'pull' && path !== undefined && (method === 'GET' || method === 'HEAD');
  if (!isRead || servers.length === 1) return [registry];
  const isByDigest = /^(?:blobs|manifests)\/[^/]*:/.test(path);
  const mirrors = servers
    .slice(0, -1)
    .filter(({ endpoint: { reads } }) => (isByDigest ? reads.byDigest : reads.byTag));
  const now = Date.now();
  return [
    ...mirrors.filter(({ asideUntil }) => asideUntil <= now),
    registry,
    ...mirrors.filter(({ asideUntil }) => asideUntil > now),
  ];
}

function setAside(server: Server): void {
  server.asideUntil = Date.now() + SET_ASIDE_MS;
}

/** The error of the registry, which comes first; what its mirrors did is in the hint unless the answer has its own. */
function withMirrors(failures: unknown[]): unknown {
  const [first, ...mirrors] = failures;
  const last = mirrors.at(-1);
  if (!isRafterError(first) || first instanceof RegistryError || !isRafterError(last)) return first;
  const hint = `its mirror failed too: ${last.message}${first.hint === undefined ? '' : `; ${first.hint}`}`;
  return new RafterError(first.code, first.message, { cause: first, hint, temporary: first.temporary });
}
