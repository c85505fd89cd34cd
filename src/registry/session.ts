import type { RegistryReference } from '../image/reference.js';
import { type CredentialLookup, credentialLookup } from './credentials.js';
import { createEndpointClient, type EndpointClient, type RepositoryRequest } from './endpoint-client.js';
import { RegistryError } from './error.js';
import type { Endpoint } from './hosts/endpoint.js';
import { originApi } from './hosts/origin.js';
import type { RegistryOptions } from './options.js';
import { DEFAULT_RETRY, type RetryPolicy, withRetry } from './retry.js';
import {
  createTransport,
  describeRequest,
  type HttpResponse,
  readBody,
  type Transport,
} from './transport.js';

/** Most bytes of an error answer that are looked at. */
const MAX_ERROR_BODY = 64 << 10;

type SessionRequest = RepositoryRequest & {
  /** Statuses that are an answer; every other one is thrown as a RegistryError. */
  expect: number[];
};

/** An answer of one of the servers that a session may ask. */
interface SessionResponse extends HttpResponse {
  /** `GET https://host/path` as it was asked, for messages. */
  request: string;
}

/** Requests to one repository, authenticated. Blobs and manifests are built on it. */
export interface Session {
  /** `host/repository`, for messages. */
  readonly name: string;
  readonly policy: RetryPolicy;
  /** One request, repeated at most once: with a new token after a 401. Errors: RegistryError, UNAVAILABLE, INTERRUPTED. */
  send(request: SessionRequest): Promise<SessionResponse>;
  /** Repeats `work` after temporary errors. */
  retry<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T>;
  close(): Promise<void>;
}

/** A session for the repository of `reference`. Opens no connection. USAGE if options contradict each other. */
export function openSession(reference: RegistryReference, options: RegistryOptions): Session {
  const { registry, repository } = reference;
  const origin: Endpoint = {
    api: originApi(registry, options),
    repository,
    isMirror: false,
    reads: { byTag: true, byDigest: true },
    headers: {},
  };
  const name = `${registry}/${repository}`;
  const policy = { ...DEFAULT_RETRY, ...options.retry };
  let parts: Promise<{ transport: Transport; client: EndpointClient }> | undefined;

  async function open() {
    const transport = await createTransport(options);
    const lookup = credentialLookup(registry, repository, options);
    return { transport, client: createEndpointClient(origin, { transport, lookup }) };
  }

  return {
    name,
    policy,
    async send(request) {
      parts ??= open();
      const { client } = await parts;
      const what = describeRequest(request.method, client.url(request));
      const response = await client.send(request);
      if (request.expect.includes(response.status)) return { ...response, request: what };
      throw await refusal(what, response, client);
    },
    retry: (work, signal) => withRetry(work, { policy, signal, name }),
    async close() {
      await (await parts?.catch(() => undefined))?.transport.close();
    },
  };
}

async function refusal(
  what: string,
  response: HttpResponse,
  { endpoint, lookup }: EndpointClient,
): Promise<RegistryError> {
  const body = await readBody(response, MAX_ERROR_BODY, what).catch(() => Buffer.alloc(0));
  const { status, headers } = response;
  const hint = status === 401 || status === 403 ? await denialHint(endpoint.api.host, lookup) : undefined;
  return new RegistryError(what, { status, headers, body: body.toString('utf8') }, hint);
}

async function denialHint(host: string, lookup: CredentialLookup): Promise<string> {
  const login = await lookup().catch(() => undefined);
  return login === undefined
    ? `no log-in for ${host} was found: log in with docker, podman or skopeo; or the repository does not exist`
    : `the log-in for ${host} was refused, or it has no right to this`;
}
