import { isIP } from 'node:net';
import { RafterError } from '../errors.js';
import type { Login } from './auth-file.js';
import { type Challenge, parseChallenges } from './challenge.js';
import type { CredentialLookup } from './credentials.js';
import { basicHeader, fetchToken, type Token } from './token.js';
import type { Transport } from './transport.js';

/** Finds the Authorization header for requests to one registry. A `scope` is one or more scopes with spaces between them. */
export interface Authenticator {
  /** The header that is known to work for `scope`; undefined before the registry has asked for any, or when anonymous. */
  header(scope: string, signal?: AbortSignal): Promise<string | undefined>;
  /**
   * The header to repeat a request with that was answered 401 with `challenge` (WWW-Authenticate) when it was sent with
   * `refused`. Many requests may ask at once: one asks the token server. undefined if there is nothing better to send.
   */
  renew(
    scope: string,
    challenge: string | string[] | undefined,
    refused: string | undefined,
    signal?: AbortSignal,
  ): Promise<string | undefined>;
}

/** Renews a token this long before it ends, so that no request starts with one that ends on the way. */
const EARLY_MS = 5_000;

interface Grant {
  header: string;
  /** Milliseconds since the epoch; Infinity for what does not expire. */
  expires: number;
}

export interface AuthenticatorOptions {
  registry: URL;
  transport: Transport;
  lookup: CredentialLookup;
}

/** An authenticator for the registry at `registry`, with a cache of tokens by scope. */
export function createAuthenticator({ registry, transport, lookup }: AuthenticatorOptions): Authenticator {
  const grants = new Map<string, Grant>();
  const running = new Map<string, Promise<Grant | undefined>>();
  /** What the registry asked for last; it lets tokens be renewed before they expire. */
  let known: Challenge | undefined;

  async function obtain(scope: string, challenge: Challenge): Promise<Grant | undefined> {
    const login = await lookup();
    if (login?.kind === 'registry-token') return forever(`Bearer ${login.token}`);
    if (challenge.scheme === 'basic') {
      return login?.kind === 'password' ? forever(basicHeader(login)) : undefined;
    }
    const token = await fetchToken(transport, tokenRequest(registry, scope, challenge, login));
    return { header: `Bearer ${token.value}`, expires: expiryOf(token) };
  }

  /** One request to the token server per scope at a time. It is not tied to any caller's signal: others wait for it too. */
  function obtainOnce(scope: string, challenge: Challenge): Promise<Grant | undefined> {
    let pending = running.get(scope);
    if (pending === undefined) {
      pending = obtain(scope, challenge)
        .then((grant) => {
          if (grant === undefined) grants.delete(scope);
          else grants.set(scope, grant);
          return grant;
        })
        .finally(() => running.delete(scope));
      running.set(scope, pending);
    }
    return pending;
  }

  return {
    async header(scope, signal) {
      const grant = grants.get(scope);
      if (grant !== undefined && grant.expires - EARLY_MS > Date.now()) return grant.header;
      if (known === undefined) return undefined;
      return (await orAborted(obtainOnce(scope, known), signal))?.header;
    },
    async renew(scope, challenge, refused, signal) {
      const offered = chooseChallenge(parseChallenges(challenge));
      if (offered === undefined) return undefined;
      known = offered;
      const current = grants.get(scope);
      if (current !== undefined && current.header !== refused) return current.header;
      const grant = await orAborted(obtainOnce(scope, offered), signal);
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

function tokenRequest(registry: URL, scope: string, { params }: Challenge, login: Login | undefined) {
  // Our own scope first: some servers read only one, and the challenge may ask for less than is about to be done.
  const asked = (params.get('scope') ?? '').split(' ').filter((text) => text !== '');
  const ours = scope.split(' ');
  const more = asked.filter((text) => !ours.some((have) => covers(have, text)));
  const service = params.get('service');
  return {
    realm: checkRealm(params.get('realm')!, registry),
    scopes: [...ours, ...more],
    ...(service === undefined ? {} : { service }),
    login,
  };
}

/** True if scope `have` (resource and comma-separated actions) includes `wanted`. */
function covers(have: string, wanted: string): boolean {
  const split = (text: string) => {
    const colon = text.lastIndexOf(':');
    return { resource: text.slice(0, colon), actions: text.slice(colon + 1).split(',') };
  };
  const [ours, theirs] = [split(have), split(wanted)];
  return ours.resource === theirs.resource && theirs.actions.every((action) => ours.actions.includes(action));
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

/** True for loopback, private and link-local addresses and for localhost. Names are not looked up. */
function isInside({ hostname }: URL): boolean {
  const host = hostname.replace(/^\[|\]$/g, '');
  if (host === 'localhost' || host.endsWith('.localhost')) return true;
  if (isIP(host) === 4) return /^(?:0|10|127|169\.254|172\.(?:1[6-9]|2\d|3[01])|192\.168)\./.test(host);
  return isIP(host) === 6 && /^(?:::1?$|::ffff:|f[cd]|fe[89ab])/i.test(host);
}

function expiryOf({ lifetimeMs }: Token): number {
  return Date.now() + lifetimeMs;
}

function forever(header: string): Grant {
  return { header, expires: Number.POSITIVE_INFINITY };
}

/** `work`, but INTERRUPTED as soon as `signal` is aborted; the work itself goes on. */
function orAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (signal === undefined) return work;
  return new Promise((resolve, reject) => {
    const stop = () =>
      reject(new RafterError('INTERRUPTED', 'logging in was interrupted', { cause: signal.reason }));
    if (signal.aborted) return stop();
    signal.addEventListener('abort', stop, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', stop));
  });
}
