import { RafterError } from '../errors.js';
import type { Login } from './auth-file.js';
import { type Challenge, parseChallenges } from './challenge.js';
import type { CredentialLookup } from './credentials.js';
import { isInside } from './hosts/origin.js';
import { orAborted } from './or-aborted.js';
import { mergeScopes } from './scopes.js';
import { basicHeader, fetchToken } from './token.js';
import type { Transport } from './transport.js';

/** Finds the Authorization header for requests to one registry. */
export interface Authenticator {
  /** The header that is known to work for `scopes`; undefined before the registry has asked for any, or when anonymous. */
  header(scopes: string[], signal?: AbortSignal): Promise<string | undefined>;
  /**
   * The header to repeat a request with that was answered 401 with `challenge` (WWW-Authenticate) when it was sent with
   * `refused`. Many requests may ask at once: one asks the token server. undefined if there is nothing better to send.
   */
  renew(
    scopes: string[],
    challenge: string | string[] | undefined,
    refused: string | undefined,
    signal?: AbortSignal,
  ): Promise<string | undefined>;
}

/** Renews a token this long before it ends, so that no request starts with one that ends on the way. */
const EARLY_MS = 10_000;
/** Most scopes of a challenge that are asked for together with our own. */
const MAX_CHALLENGE_SCOPES = 16;
/** What is interrupted, in messages. */
const LOGGING_IN = 'logging in';
/** Most sets of scopes whose tokens are kept; the one that was got first gives way. */
const MAX_GRANTS = 256;

interface Grant {
  header: string;
  /** Milliseconds since the epoch; Infinity for what does not expire. */
  expires: number;
}

export interface AuthenticatorOptions {
  registry: URL;
  transport: Transport;
  lookup: CredentialLookup;
  /** Hears of the identity token that is asked for, then, with each token. */
  onIdentityToken?: ((token: string) => void) | undefined;
}

/** An authenticator for the registry at `registry`, with a cache of tokens by scope. */
export function createAuthenticator({
  registry,
  transport,
  lookup,
  onIdentityToken,
}: AuthenticatorOptions): Authenticator {
  const grants = new Map<string, Grant>();
  const running = new Map<string, Promise<Grant | undefined>>();
  /** What the registry asked for last; it lets tokens be renewed before they expire. */
  let known: Challenge | undefined;

  async function obtain(scopes: string[], challenge: Challenge): Promise<Grant | undefined> {
    const login = await lookup();
    if (login?.kind === 'registry-token') return forever(`Bearer ${login.token}`);
    if (challenge.scheme === 'basic') {
      return login?.kind === 'password' ? forever(basicHeader(login)) : undefined;
    }
    const request = tokenRequest(registry, scopes, challenge, login);
    const offline = onIdentityToken !== undefined;
    const { value, lifetimeMs, refreshToken } = await fetchToken(transport, { ...request, offline });
    if (refreshToken !== undefined) onIdentityToken?.(refreshToken);
    return { header: `Bearer ${value}`, expires: Date.now() + lifetimeMs };
  }

  /** One request to the token server per set of scopes at a time. It is not tied to any caller's signal: others wait for it too. */
  function obtainOnce(key: string, challenge: Challenge): Promise<Grant | undefined> {
    let pending = running.get(key);
    if (pending === undefined) {
      pending = obtain(key.split(' '), challenge)
        .then((grant) => {
          grants.delete(key);
          if (grant !== undefined) grants.set(key, grant);
          if (grants.size > MAX_GRANTS) grants.delete(grants.keys().next().value!);
          return grant;
        })
        .finally(() => running.delete(key));
      running.set(key, pending);
    }
    return pending;
  }

  return {
    async header(scopes, signal) {
      const key = mergeScopes(scopes).join(' ');
      const grant = grants.get(key);
      if (grant !== undefined && grant.expires - EARLY_MS > Date.now()) return grant.header;
      if (known === undefined) return undefined;
      try {
        return (await orAborted(obtainOnce(key, known), LOGGING_IN, signal))?.header;
      } catch (error) {
        // The token server has some seconds left to answer another request.
        if (grant === undefined || grant.expires <= Date.now() || signal?.aborted) throw error;
        return grant.header;
      }
    },
    async renew(scopes, challenge, refused, signal) {
      const offered = chooseChallenge(parseChallenges(challenge));
      if (offered === undefined) return undefined;
      known = offered;
      const key = mergeScopes(scopes).join(' ');
      const current = grants.get(key);
      if (current !== undefined && current.header !== refused) return current.header;
      const grant = await orAborted(obtainOnce(key, offered), LOGGING_IN, signal);
      return grant?.header === refused ? undefined : grant?.header;
    },
  };
}

function chooseChallenge(challenges: Challenge[]): Challenge | undefined {
  return (
    challenges.find(({ scheme, params }) => scheme === 'bearer' && params.has('realm')) ??
    challenges.find(({ scheme }) => scheme === 'basic')
  );
}

function tokenRequest(registry: URL, scopes: string[], { params }: Challenge, login: Login | undefined) {
  // Ours first: the challenge may ask for less than is about to be done.
  const asked = (params.get('scope') ?? '').split(/\s+/).slice(0, MAX_CHALLENGE_SCOPES);
  const service = params.get('service');
  return {
    realm: checkRealm(params.get('realm')!, registry),
    scopes: mergeScopes([...scopes, ...asked]),
    ...(service === undefined ? {} : { service }),
    login,
  };
}

/**
 * The token server is chosen by whoever answers for the registry, and is sent the password: so not without encryption
 * where the registry has it, and no address of this machine or its network unless the registry is there too.
 */
function checkRealm(realm: string, registry: URL): URL {
  if (!URL.canParse(realm, registry.href)) {
    throw new RafterError('MALFORMED', `${registry.host}: the realm of its token server is not a URL`);
  }
  const url = new URL(realm, registry);
  const refusal =
    url.protocol === 'https:' || (url.protocol === 'http:' && registry.protocol === 'http:')
      ? url.username !== '' || url.password !== ''
        ? 'has credentials in it'
        : isInside(url) && !isInside(registry)
          ? 'is an address inside this network'
          : undefined
      : 'is not https';
  if (refusal === undefined) return url;
  throw new RafterError(
    'DENIED',
    `${registry.host}: its token server ${url.origin} ${refusal}; nothing was sent there`,
  );
}

function forever(header: string): Grant {
  return { header, expires: Number.POSITIVE_INFINITY };
}
