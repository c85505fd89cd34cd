import type { ReadUrgency } from '../image/source.js';
import { createAuthenticator } from './auth.js';
import { type CredentialLookup, credentialLookup } from './credentials.js';
import type { Endpoint } from './hosts/endpoint.js';
import type { RegistryOptions } from './options.js';
import { discardBody, type HttpRequest, type HttpResponse, type Transport } from './transport.js';

/** What is done to the repository; it decides the scope of the token that is asked for. */
export type Access = 'pull' | 'push' | 'delete';

const ACTIONS = { pull: 'pull', push: 'pull,push', delete: 'delete' } satisfies Record<Access, string>;

/** A request to a repository, wherever that is. */
export type RepositoryRequest = Omit<HttpRequest, 'url'> & {
  access: Access;
  /** Other repositories of the registry that the request reads, as a cross-repository mount does: the token covers them. */
  reads?: string[];
  /** For reads of blobs: why. Default: somebody waits for it. */
  urgency?: ReadUrgency | undefined;
  /** For reads of blobs: never through peers. Default false. */
  isDirect?: boolean | undefined;
} & /** Below `/v2/<repository>/`, already encoded, with its query; or where the registry said, as an upload's Location. */ (
    | { path: string; url?: undefined }
    | { url: URL; path?: undefined }
  );

/** Authenticated requests to one endpoint. */
export interface EndpointClient {
  readonly endpoint: Endpoint;
  url(request: RepositoryRequest): URL;
  /**
   * One request, repeated at most once: with a new token after a 401. Any status is an answer. `carry` sends it instead of the
   * client's own transport; tokens are asked for directly.
   */
  send(request: RepositoryRequest, carry?: Transport['send']): Promise<HttpResponse>;
  lookup: CredentialLookup;
}

/** A client for `endpoint`, with tokens of its own. */
export function createEndpointClient(
  endpoint: Endpoint,
  { transport, options }: { transport: Transport; options: RegistryOptions },
): EndpointClient {
  const { api, repository, isMirror } = endpoint;
  // What the caller gave is for the registry, not for whoever mirrors it.
  const lookup = credentialLookup(
    api.host,
    repository,
    isMirror ? { ...options, credentials: undefined } : options,
  );
  const authenticator = createAuthenticator({ registry: api, transport, lookup });

  function url({ path, url }: RepositoryRequest): URL {
    if (path === undefined) return url;
    const place = new URL(`${api.href.replace(/\/$/, '')}/${repository}/${path}`);
    if (endpoint.namespace !== undefined) place.searchParams.set('ns', endpoint.namespace);
    return place;
  }

  return {
    endpoint,
    url,
    lookup,
    async send(request, carry = transport.send) {
      const target = url(request);
      // Upload locations may be elsewhere; credentials are for this server alone.
      const isHome = target.origin === api.origin;
      const attempt = (authorization: string | undefined) =>
        carry({
          ...request,
          url: target,
          privateHeaders: {
            ...(isHome && endpoint.namespace !== undefined && { 'oci-namespace': endpoint.namespace }),
            ...(isHome && endpoint.headers),
            ...(isHome && authorization !== undefined && { authorization }),
          },
        });
      const scopes = [
        `repository:${repository}:${ACTIONS[request.access]}`,
        ...(request.reads ?? []).map((name) => `repository:${name}:pull`),
      ];
      const authorization = isHome ? await authenticator.header(scopes, request.signal) : undefined;
      const response = await attempt(authorization);
      if (response.status !== 401 || response.url.origin !== api.origin) return response;
      const challenge = response.headers['www-authenticate'];
      const renewed = await authenticator.renew(scopes, challenge, authorization, request.signal);
      if (renewed === undefined) return response;
      await discardBody(response);
      return attempt(renewed);
    },
  };
}
