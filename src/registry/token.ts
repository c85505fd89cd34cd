import { RafterError } from '../errors.js';
import type { Login } from './auth-file.js';
import { RegistryError } from './error.js';
import { describeRequest, type HttpResponse, readBody, type Transport } from './transport.js';

/** Most bytes of a token server's answer. */
const MAX_TOKEN_ANSWER = 64 << 10;
/** Lifetime of a token whose answer says none, and the least that is believed (distribution's token protocol). */
const MIN_LIFETIME_MS = 60_000;
const CLIENT_ID = 'rafter';

export interface Token {
  value: string;
  lifetimeMs: number;
}

export interface TokenRequest {
  realm: URL;
  service?: string | undefined;
  /** In order of importance. */
  scopes: string[];
  /** undefined: anonymous. */
  login: Login | undefined;
}

/**
 * Gets a Bearer token: by GET with the password, or anonymously (Docker's token protocol); by POST for an identity token
 * (its OAuth 2 form). DENIED if the log-in is refused; otherwise errors as for any request. Errors show no secret.
 */
export async function fetchToken(transport: Transport, wanted: TokenRequest): Promise<Token> {
  const isIdentity = wanted.login?.kind === 'identity-token';
  const what = describeRequest(isIdentity ? 'POST' : 'GET', wanted.realm);
  const response = await (isIdentity ? postForm(transport, wanted) : getWithQuery(transport, wanted));
  const body = (await readBody(response, MAX_TOKEN_ANSWER, what)).toString('utf8');
  if (response.status !== 200) {
    const hint = wanted.login === undefined ? undefined : 'the user name or password may be wrong';
    throw new RegistryError(what, { ...response, body }, hint);
  }
  return readToken(body, what);
}

/** The Authorization header of Basic authentication. */
export function basicHeader({ username, password }: { username: string; password: string }): string {
  return `Basic ${Buffer.from(`${username}:${password}`).toString('base64')}`;
}

function getWithQuery(
  transport: Transport,
  { realm, service, scopes, login }: TokenRequest,
): Promise<HttpResponse> {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  url.searchParams.set('client_id', CLIENT_ID);
  if (login?.kind !== 'password') return transport.send({ method: 'GET', url });
  url.searchParams.set('account', login.username);
  return transport.send({ method: 'GET', url, headers: { authorization: basicHeader(login) } });
}

function postForm(
  transport: Transport,
  { realm, service, scopes, login }: TokenRequest,
): Promise<HttpResponse> {
  const form = new URLSearchParams({
    grant_type: 'refresh_token',
    ...(service === undefined ? {} : { service }),
    scope: scopes.join(' '),
    client_id: CLIENT_ID,
    refresh_token: login?.kind === 'identity-token' ? login.token : '',
  });
  const bytes = Buffer.from(form.toString());
  return transport.send({
    method: 'POST',
    url: realm,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: { size: bytes.length, open: () => bytes },
  });
}

function readToken(body: string, what: string): Token {
  let answer: { token?: unknown; access_token?: unknown; expires_in?: unknown } | null;
  try {
    answer = JSON.parse(body);
  } catch {
    answer = null;
  }
  const value = [answer?.token, answer?.access_token].find(
    (token) => typeof token === 'string' && token !== '',
  );
  // A token with other characters than these could smuggle a second header in.
  if (typeof value !== 'string' || !/^[\x21-\x7e]+$/.test(value)) {
    throw new RafterError('MALFORMED', `${what}: the token server answered without a token`);
  }
  const seconds = typeof answer?.expires_in === 'number' ? answer.expires_in : 0;
  return { value, lifetimeMs: Math.max(MIN_LIFETIME_MS, seconds * 1000) };
}
