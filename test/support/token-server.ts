import { createPrivateKey, randomUUID, sign, X509Certificate } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer as createHttpServer, type IncomingMessage, type ServerResponse } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { CertificateFiles } from './certificates.js';
import { stopServer } from './stop-server.js';

export interface TokenServerOptions {
  /** Signs the tokens; the registry must trust its certificate. */
  signer: CertificateFiles;
  service: string;
  /** Serves HTTPS with it. */
  tls?: CertificateFiles;
  /** By user name; changes count at once. */
  users: Record<string, string>;
  /** Identity token of each user, given when asked for and taken by POST. */
  identityTokens?: Record<string, string>;
  /** Users that may push; everybody may pull what is asked for, also without a name. */
  pushers?: string[];
}

/** One request that the server got. */
interface TokenRequest {
  method: string;
  user: string | undefined;
  scopes: string[];
  grantType: string | undefined;
  status: number;
}

/** A token server in this process with a real signing key (Docker's token protocol and its OAuth 2 form). */
export interface TokenServer {
  realm: string;
  requests: TokenRequest[];
  /** Seconds that the next tokens live, by what is in them and by what the client is told. */
  timing: { lifetime: number; saidLifetime: number };
  stop(): Promise<void>;
}

export async function startTokenServer(options: TokenServerOptions): Promise<TokenServer> {
  const { signer, service, users, identityTokens = {}, tls } = options;
  const requests: TokenRequest[] = [];
  const timing = { lifetime: 300, saidLifetime: 300 };

  async function answer(incoming: IncomingMessage, response: ServerResponse): Promise<void> {
    const pieces: Buffer[] = [];
    for await (const piece of incoming) pieces.push(piece);
    const url = new URL(incoming.url ?? '', 'http://token');
    const form = new URLSearchParams(Buffer.concat(pieces).toString());
    const asked = incoming.method === 'POST' ? form : url.searchParams;
    const scopes = asked.getAll('scope').flatMap((text) => text.split(' '));
    const [user, isKnown] =
      incoming.method === 'POST' ? byForm(form) : byHeader(incoming.headers.authorization);
    const isRight = isKnown && asked.get('service') === service;
    const grantType = form.get('grant_type') ?? undefined;
    const status = isRight ? 200 : 401;
    requests.push({ method: incoming.method ?? '', user, scopes, grantType, status });
    response.writeHead(status, { 'content-type': 'application/json' });
    if (!isRight) return void response.end('{"errors":[{"code":"UNAUTHORIZED","message":"wrong"}]}');
    const identity = user === undefined ? undefined : identityTokens[user];
    const wantsIdentity = asked.get('offline_token') === 'true' || asked.get('access_type') === 'offline';
    response.end(
      JSON.stringify({
        token: signToken(user, scopes, timing.lifetime),
        expires_in: timing.saidLifetime,
        issued_at: new Date().toISOString(),
        ...(wantsIdentity && identity !== undefined && { refresh_token: identity }),
      }),
    );
  }

  function byHeader(header: string | undefined): [string | undefined, boolean] {
    if (header === undefined) return [undefined, true];
    const text = Buffer.from(header.replace(/^Basic /, ''), 'base64').toString();
    const colon = text.indexOf(':');
    const user = text.slice(0, colon);
    return [user, users[user] === text.slice(colon + 1)];
  }

  function byForm(form: URLSearchParams): [string | undefined, boolean] {
    if (form.get('grant_type') === 'refresh_token') {
      const token = form.get('refresh_token');
      const user = Object.keys(identityTokens).find((name) => identityTokens[name] === token);
      return [user, user !== undefined];
    }
    const user = form.get('username') ?? '';
    return [user, users[user] !== undefined && users[user] === form.get('password')];
  }

  function signToken(user: string | undefined, scopes: string[], lifetime: number): string {
    const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString('base64url');
    const certificate = new X509Certificate(readFileSync(signer.cert));
    const now = Math.floor(Date.now() / 1000);
    const mayPush = user !== undefined && (options.pushers ?? []).includes(user);
    const access = scopes.map((scope) => {
      const [type = '', name = '', actions = ''] = /^([^:]*):(.*):([^:]*)$/.exec(scope)?.slice(1) ?? [];
      const allowed = actions.split(',').filter((action) => action === 'pull' || mayPush);
      return { type, name, actions: allowed };
    });
    const head = encode({ typ: 'JWT', alg: 'ES256', x5c: [certificate.raw.toString('base64')] });
    const claims = encode({
      iss: 'rafter tests',
      sub: user ?? '',
      aud: service,
      exp: now + lifetime,
      nbf: now - 10,
      iat: now,
      jti: randomUUID(),
      access,
    });
    const key = createPrivateKey(readFileSync(signer.key));
    const signature = sign('sha256', Buffer.from(`${head}.${claims}`), { key, dsaEncoding: 'ieee-p1363' });
    return `${head}.${claims}.${signature.toString('base64url')}`;
  }

  const listener = (incoming: IncomingMessage, response: ServerResponse) =>
    void answer(incoming, response).catch(() => response.destroy());
  const server =
    tls === undefined
      ? createHttpServer(listener)
      : createHttpsServer({ cert: readFileSync(tls.cert), key: readFileSync(tls.key) }, listener);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  return {
    realm: `${tls === undefined ? 'http' : 'https'}://127.0.0.1:${port}/token`,
    requests,
    timing,
    stop: () => stopServer(server),
  };
}
