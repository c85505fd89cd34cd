import { hideSecret, RafterError } from '../errors.js';
import type { Login } from './auth-file.js';
import { RegistryError } from './error.js';
import { describeRequest, discardBody, type HttpResponse, readBody, type Transport } from './transport.js';

/** Most bytes of a token server's answer. */
const MAX_TOKEN_ANSWER = 64 << 10;
/** Lifetime of a token whose answer says none, and the least that is believed (distribution's token protocol). */
const MIN_LIFETIME_MS = 60_000;
const CLIENT_ID = 'rafter';

export interface Token {
  value: string;
  lifetimeMs: number;
  /** An identity token to log in with from now on, if one was asked for and the server has such. */
  refreshToken: string | undefined;
}

export interface TokenRequest {
  realm: URL;
  service?: string | undefined;
  /** In order of importance. */
  scopes: string[];
  /** undefined: anonymous. */
  login: Login | undefined;
  /** Ask for an identity token, too. */
  offline?: boolean | undefined;
}

/**
 * Gets a Bearer token: by GET with the password, or anonymously (Docker's token protocol); by POST for an identity token (its
 * OAuth 2 form), and for a password where the server knows no GET. DENIED if the log-in is refused; otherwise errors as for any
 * request. Errors show no secret.
 */
export async function fetchToken(transport: Transport, wanted: TokenRequest): Promise<Token> {
  const { login, realm } = wanted;
  if (login?.kind === 'identity-token') {
    const form = { grant_type: 'refresh_token', refresh_token: login.token };
    hideSecret(login.token);
    return await readAnswer(await postForm(transport, wanted, form), describeRequest('POST', realm), wanted);
  }
  const response = await getWithQuery(transport, wanted);
  if (login?.kind !== 'password' || ![404, 405].includes(response.status)) {
    return await readAnswer(response, describeRequest('GET', realm), wanted);
  }
  await discardBody(response);
  const form = {
    grant_type: 'password',
    username: login.username,
    password: login.password,
    ...(wanted.offline && { access_type: 'offline' }),
  };
  return await readAnswer(await postForm(transport, wanted, form), describeRequest('POST', realm), wanted);
}

async function readAnswer(response: HttpResponse, what: string, { login }: TokenRequest): Promise<Token> {
  const body = (await readBody(response, MAX_TOKEN_ANSWER, what)).toString('utf8');
  if (response.status === 200) return readToken(body, response, what);
  const hint = login === undefined ? undefined : 'the user name or password may be wrong';
  throw new RegistryError(what, { ...response, body }, hint);
}

/** The Authorization header of Basic authentication. */
export function basicHeader({ username, password }: { username: string; password: string }): string {
  const encoded = Buffer.from(`${username}:${password}`).toString('base64');
  hideSecret(password, encoded);
  return `Basic ${encoded}`;
}

function getWithQuery(
  transport: Transport,
  { realm, service, scopes, login, offline }: TokenRequest,
): Promise<HttpResponse> {
  const url = new URL(realm);
  if (service !== undefined) url.searchParams.set('service', service);
  for (const scope of scopes) url.searchParams.append('scope', scope);
  url.searchParams.set('client_id', CLIENT_ID);
  if (offline) url.searchParams.set('offline_token', 'true');
  if (login?.kind !== 'password') return transport.send({ method: 'GET', url });
  url.searchParams.set('account', login.username);
  return transport.send({ method: 'GET', url, headers: { authorization: basicHeader(login) } });
}

function postForm(
  transport: Transport,
  { realm, service, scopes }: TokenRequest,
  secrets: Record<string, string>,
): Promise<HttpResponse> {
  const form = new URLSearchParams({
    ...(service === undefined ? {} : { service }),
    ...(scopes.length > 0 && { scope: scopes.join(' ') }),
    client_id: CLIENT_ID,
    ...secrets,
  });
  const bytes = Buffer.from(form.toString());
  return transport.send({
    method: 'POST',
    url: realm,
    headers: { 'content-type': 'application/x-www-form-urlencoded' },
    body: { size: bytes.length, open: () => bytes },
    isBodySecret: true,
  });
}

function readToken(body: string, { headers }: HttpResponse, what: string): Token {
  let answer: Record<string, unknown> | null;
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
  const refresh = answer?.refresh_token;
  const refreshToken = typeof refresh === 'string' && refresh !== '' ? refresh : undefined;
  hideSecret(value, ...(refreshToken === undefined ? [] : [refreshToken]));
  const seconds = typeof answer?.expires_in === 'number' ? answer.expires_in : 0;
  const lifetimeMs = Math.max(MIN_LIFETIME_MS, seconds * 1000 - ageOf(answer?.issued_at, headers.date));
  return { value, lifetimeMs, refreshToken };
}

/** Milliseconds that a token was old when it was sent. Both times are by the server's clock, whatever ours says. */
function ageOf(issuedAt: unknown, date: string | undefined): number {
  const age = Date.parse(date ?? '') - Date.parse(typeof issuedAt === 'string' ? issuedAt : '');
  return age > 0 ? age : 0;
}
