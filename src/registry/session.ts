import { isIP } from 'node:net';
import { RafterError } from '../errors.js';
import type { RegistryReference } from '../image/reference.js';
import { createAuthenticator } from './auth.js';
import { type CredentialLookup, credentialLookup } from './credentials.js';
import { RegistryError } from './error.js';
import type { RegistryOptions } from './options.js';
import { DEFAULT_RETRY, type RetryPolicy, withRetry } from './retry.js';
import {
  createTransport,
  describeRequest,
  discardBody,
  type HttpRequest,
  type HttpResponse,
  readBody,
  type Transport,
} from './transport.js';

/** Most bytes of an error answer that are looked at. */
const MAX_ERROR_BODY = 64 << 10;

/** What is done to the repository; it decides the scope of the token that is asked for. */
export type Access = 'pull' | 'push' | 'delete';

const ACTIONS = { pull: 'pull', push: 'pull,push', delete: 'delete' } satisfies Record<Access, string>;

interface SessionRequest extends HttpRequest {
  access: Access;
  /** Statuses that are an answer; every other one is thrown as a RegistryError. */
  expect: number[];
}

/** Requests to one repository, authenticated. Blobs and manifests are built on it. */
export interface Session {
  /** `host/repository`, for messages. */
  readonly name: string;
  readonly policy: RetryPolicy;
  /** URL below `/v2/<repository>/`. `path` is already encoded. */
  url(path: string): URL;
  /** One request, repeated at most once: with a new token after a 401. Errors: RegistryError, UNAVAILABLE, INTERRUPTED. */
  send(request: SessionRequest): Promise<HttpResponse>;
  /** Repeats `work` after temporary errors. */
  retry<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T>;
  close(): Promise<void>;
}

/** A session for the repository of `reference`. Opens no connection. USAGE if options contradict each other. */
export function openSession(reference: RegistryReference, options: RegistryOptions): Session {
  const { registry, repository } = reference;
  const base = new URL(`${schemeFor(registry, options)}://${registry}`);
  const name = `${registry}/${repository}`;
  const policy = { ...DEFAULT_RETRY, ...options.retry };
  let parts:
    | Promise<{ transport: Transport; send(request: SessionRequest): Promise<HttpResponse> }>
    | undefined;

  async function open() {
    const transport = await createTransport(options);
    const lookup = credentialLookup(registry, repository, options);
    const authenticator = createAuthenticator({ registry: base, transport, lookup });
    const attempt = async (request: SessionRequest, authorization: string | undefined) => {
      // Upload locations may be elsewhere; credentials are for this registry alone.
      const isHome = request.url.origin === base.origin;
      const headers = { ...request.headers, ...(isHome && authorization ? { authorization } : {}) };
      return transport.send({ ...request, headers });
    };
    const send = async (request: SessionRequest) => {
      const scope = `repository:${repository}:${ACTIONS[request.access]}`;
      const authorization = await authenticator.header(scope, request.signal);
      let response = await attempt(request, authorization);
      if (response.status === 401 && response.url.origin === base.origin) {
        const challenge = response.headers['www-authenticate'];
        const renewed = await authenticator.renew(scope, challenge, authorization, request.signal);
        if (renewed !== undefined) {
          await discardBody(response);
          response = await attempt(request, renewed);
        }
      }
      if (request.expect.includes(response.status)) return response;
      throw await refusal(request, response, lookup);
    };
    return { transport, send };
  }

  return {
    name,
    policy,
    url: (path) => new URL(`/v2/${repository}/${path}`, base),
    async send(request) {
      parts ??= open();
      return (await parts).send(request);
    },
    retry: (work, signal) => withRetry(work, { policy, signal, name }),
    async close() {
      await (await parts?.catch(() => undefined))?.transport.close();
    },
  };
}

async function refusal(
  request: SessionRequest,
  response: HttpResponse,
  lookup: CredentialLookup,
): Promise<RegistryError> {
  const what = describeRequest(request.method, request.url);
  const body = await readBody(response, MAX_ERROR_BODY, what).catch(() => Buffer.alloc(0));
  const { status, headers } = response;
  const hint = status === 401 || status === 403 ? await denialHint(request.url.host, lookup) : undefined;
  return new RegistryError(what, { status, headers, body: body.toString('utf8') }, hint);
}

async function denialHint(host: string, lookup: CredentialLookup): Promise<string> {
  const login = await lookup().catch(() => undefined);
  return login === undefined
    ? `no log-in for ${host} was found: log in with docker, podman or skopeo; or the repository does not exist`
    : `the log-in for ${host} was refused, or it has no right to this`;
}

function schemeFor(registry: string, { plainHttp, caFile, certFile }: RegistryOptions): 'http' | 'https' {
  const hasTlsFiles = caFile !== undefined || certFile !== undefined;
  if (plainHttp && hasTlsFiles) {
    throw new RafterError('USAGE', `${registry}: plain HTTP and certificates were both asked for`);
  }
  return plainHttp || (plainHttp === undefined && !hasTlsFiles && isLoopback(registry)) ? 'http' : 'https';
}

/** True if the host (with or without port) is this machine by its very name. */
export function isLoopback(registry: string): boolean {
  const host = registry.replace(/:\d+$/, '').replace(/^\[|\]$/g, '');
  if (host === 'localhost' || host.endsWith('.localhost')) return true;
  return isIP(host) === 4 ? host.startsWith('127.') : host === '::1';
}
