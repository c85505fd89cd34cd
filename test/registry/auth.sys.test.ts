import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ociDigest } from '../../src/codec/digest.js';
import { isLoopback, originApi } from '../../src/registry/hosts/origin.js';
import { getManifest, putManifest } from '../../src/registry/manifests.js';
import type { RegistryOptions } from '../../src/registry/options.js';
import { openSession, type Session } from '../../src/registry/session.js';
import { type FakeRegistry, type FakeRequest, quickly, startFakeRegistry } from '../support/fake-registry.js';

const always = Number.POSITIVE_INFINITY;
const manifest = Buffer.from('{"schemaVersion":2,"manifests":[]}');
const mediaType = 'application/vnd.oci.image.index.v1+json';
const credentials = { username: 'anna', password: 'p:w s3cret' };
const basic = `Basic ${Buffer.from('anna:p:w s3cret').toString('base64')}`;

let registry: FakeRegistry;
let sessions: Session[];
beforeEach(async () => {
  registry = await startFakeRegistry();
  registry.manifests.set('1', { mediaType, bytes: manifest });
  sessions = [];
});
afterEach(async () => {
  for (const session of sessions) await session.close();
  await registry.stop();
});

function open(options: RegistryOptions = {}): Session {
  const session = openSession(registry.reference(), {
    dockerConfig: '/nonexistent',
    retry: quickly,
    ...options,
  });
  sessions.push(session);
  return session;
}

const challenge = (response: ServerResponse, header: string | string[]) =>
  void response.writeHead(401, { 'www-authenticate': header }).end();

/** A registry that wants a token, and its token server; tokens are `token-N SCOPES`. */
function requireTokens(
  options: { expiresIn?: number; accepts?: (token: string, request: FakeRequest) => boolean } = {},
) {
  const given: { url: URL; authorization: string | undefined; body: string }[] = [];
  registry.intercept(
    /^(GET|POST) \/token/,
    (request, response) => {
      const url = new URL(request.url, `http://${registry.host}`);
      given.push({ url, authorization: request.headers.authorization, body: request.body.toString() });
      const token = `token-${given.length}`;
      setTimeout(() => response.end(JSON.stringify({ token, expires_in: options.expiresIn ?? 300 })), 20);
    },
    always,
  );
  registry.intercept(
    / \/v2\//,
    (request, response, next) => {
      const token = /^Bearer (.*)$/.exec(request.headers.authorization ?? '')?.[1];
      if (token?.startsWith('token-') && (options.accepts?.(token, request) ?? true)) return next();
      const scope = 'repository:team/app:pull';
      challenge(response, `Bearer realm="http://${registry.host}/token",service="fake reg",scope="${scope}"`);
    },
    always,
  );
  return given;
}

describe('Basic', () => {
  it('is sent only when asked for, and then with every request', async () => {
    registry.intercept(
      /./,
      (request, response, next) =>
        request.headers.authorization === basic ? next() : challenge(response, 'Basic realm="x"'),
      always,
    );
    const session = open({ credentials });
    await getManifest(session, '1');
    await getManifest(session, '1');
    expect(registry.requests.map(({ headers }) => headers.authorization)).toEqual([undefined, basic, basic]);
  });

  it('that is refused is one DENIED, without the password in it', async () => {
    registry.intercept(/./, (_, response) => challenge(response, 'Negotiate, Basic realm="x"'), always);
    const error = await getManifest(open({ credentials }), '1').catch((caught: Error) => caught);
    expect(error).toMatchObject({ code: 'DENIED', status: 401, hint: expect.stringContaining('refused') });
    expect(`${JSON.stringify(error)}${error}${(error as Error).stack}`).not.toMatch(/s3cret|YW5uYT/);
    expect(registry.requests).toHaveLength(2);
  });
});

describe('Bearer', () => {
  it('gets a token for its own scope, with the password, and uses it again', async () => {
    const given = requireTokens();
    const session = open({ credentials });
    await getManifest(session, '1');
    await getManifest(session, '1');
    expect(given).toHaveLength(1);
    expect(given[0]!.authorization).toBe(basic);
    expect(given[0]!.url.searchParams.get('service')).toBe('fake reg');
    expect(given[0]!.url.searchParams.getAll('scope')).toEqual(['repository:team/app:pull']);
    expect(given[0]!.url.searchParams.get('account')).toBe('anna');
  });

  it('is anonymous without a log-in', async () => {
    const given = requireTokens();
    await getManifest(open(), '1');
    expect(given[0]!.authorization).toBeUndefined();
    expect(given[0]!.url.searchParams.has('account')).toBe(false);
  });

  it('asks for another token to push, for its scope before that of the challenge', async () => {
    const given = requireTokens();
    const session = open({ credentials });
    await getManifest(session, '1');
    const descriptor = { mediaType, digest: ociDigest(manifest), size: manifest.length };
    await putManifest(session, '2', { bytes: manifest, descriptor });
    expect(given.map(({ url }) => url.searchParams.getAll('scope'))).toEqual([
      ['repository:team/app:pull'],
      ['repository:team/app:pull,push'],
    ]);
  });

  it('is asked for once by many requests at a time', async () => {
    const given = requireTokens();
    const session = open({ credentials });
    await Promise.all(Array.from({ length: 20 }, () => getManifest(session, '1')));
    expect(given).toHaveLength(1);
  });

  it('is renewed when it is refused in the middle, once for all', async () => {
    let revoked = false;
    const given = requireTokens({ accepts: (token) => !(revoked && token === 'token-1') });
    const session = open({ credentials });
    await getManifest(session, '1');
    revoked = true;
    await Promise.all(Array.from({ length: 10 }, () => getManifest(session, '1')));
    expect(given).toHaveLength(2);
  });

  it('is asked for again with a scope that the registry misses in it', async () => {
    const given = requireTokens();
    const session = open({ credentials });
    await getManifest(session, '1');
    registry.intercept(/manifests/, (_, response) =>
      challenge(
        response,
        `Bearer realm="http://${registry.host}/token",service="fake reg",scope="repository:base/os:pull",error="insufficient_scope"`,
      ),
    );
    await getManifest(session, '1');
    const scopes = ['repository:team/app:pull', 'repository:base/os:pull'];
    expect(given.map(({ url }) => url.searchParams.getAll('scope'))).toEqual([scopes.slice(0, 1), scopes]);
  });

  it('that no renewal makes right is DENIED after one try', async () => {
    const given = requireTokens({ accepts: () => false });
    await expect(getManifest(open({ credentials }), '1')).rejects.toMatchObject({ code: 'DENIED' });
    expect(given).toHaveLength(1);
    expect(registry.requests).toHaveLength(3);
  });

  it('sends an upload again from its beginning after a 401', async () => {
    let refusals = 0;
    const given = requireTokens({
      accepts: (_, { url }) => !(url.endsWith('/second') && refusals++ === 0),
    });
    const session = open({ credentials });
    const stored = {
      bytes: manifest,
      descriptor: { mediaType, digest: ociDigest(manifest), size: manifest.length },
    };
    await putManifest(session, 'first', stored);
    await putManifest(session, 'second', stored);
    expect(registry.manifests.get('second')!.bytes).toEqual(manifest);
    expect(given).toHaveLength(2);
    expect(registry.requests.filter(({ url }) => url.endsWith('/second')).map(({ body }) => body)).toEqual([
      manifest,
      manifest,
    ]);
  });

  it('exchanges an identity token by POST', async () => {
    const given = requireTokens();
    const directory = mkdtempSync(join(tmpdir(), 'rafter-idt-'));
    try {
      const dockerConfig = `${directory}/config.json`;
      writeFileSync(dockerConfig, JSON.stringify({ auths: { [registry.host]: { identitytoken: 'idt' } } }));
      await getManifest(open({ dockerConfig }), '1');
      const form = new URLSearchParams(given[0]!.body);
      expect(Object.fromEntries(form)).toMatchObject({
        grant_type: 'refresh_token',
        refresh_token: 'idt',
        service: 'fake reg',
      });
      expect(given[0]!.authorization).toBeUndefined();
    } finally {
      rmSync(directory, { recursive: true });
    }
  });

  it.each([
    ['an error', 401, '{"errors":[{"code":"UNAUTHORIZED","message":"wrong"}]}', 'DENIED'],
    ['no token', 200, '{}', 'MALFORMED'],
    ['an HTML page', 200, '<html>', 'MALFORMED'],
    ['a token that is two headers', 200, '{"token":"a\\r\\nx: y"}', 'MALFORMED'],
    ['too much', 200, `{"token":"${'x'.repeat(70_000)}"}`, 'LIMIT_EXCEEDED'],
  ])('says so when the token server answers with %s', async (_, status, body, code) => {
    registry.intercept(
      /\/v2\//,
      (_request, response) => challenge(response, 'Bearer realm="/token"'),
      always,
    );
    registry.intercept(/\/token/, (_request, response) => void response.writeHead(status).end(body), always);
    await expect(getManifest(open({ credentials }), '1')).rejects.toMatchObject({
      code,
      message: expect.stringContaining('/token'),
    });
  });

  it.each([
    ['http://[', 'MALFORMED'],
    ['ftp://h/token', 'DENIED'],
    ['http://a:b@127.0.0.1/token', 'DENIED'],
  ])('sends nothing to the realm %s', async (realm, code) => {
    registry.intercept(
      /\/v2\//,
      (_request, response) => challenge(response, `Bearer realm="${realm}"`),
      always,
    );
    await expect(getManifest(open({ credentials }), '1')).rejects.toMatchObject({ code });
    expect(registry.requests).toHaveLength(1);
  });

  it('is waited for no longer than the caller likes', async () => {
    registry.intercept(
      /\/v2\//,
      (_request, response) => challenge(response, 'Bearer realm="/token"'),
      always,
    );
    registry.intercept(/\/token/, () => {}, always);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 50);
    await expect(getManifest(open(), '1', controller.signal)).rejects.toMatchObject({ code: 'INTERRUPTED' });
  });
});

describe('plain HTTP', () => {
  it.each([
    ['localhost', true],
    ['localhost:5000', true],
    ['127.0.0.1', true],
    ['127.1.2.3:5000', true],
    ['[::1]', true],
    ['[::1]:5000', true],
    ['127.0.0.1.example.com', false],
    ['localhost.example.com:5000', false],
    ['10.0.0.1:5000', false],
    ['[::2]:5000', false],
  ])('%s: without being told: %s', (host, plain) => {
    expect(isLoopback(host)).toBe(plain);
    expect(originApi(host, {}).protocol).toBe(plain ? 'http:' : 'https:');
    expect(originApi(host, { plainHttp: true }).protocol).toBe('http:');
    expect(originApi(host, { plainHttp: false }).protocol).toBe('https:');
    expect(originApi(host, { caFile: 'x' }).protocol).toBe('https:');
    expect(() => originApi(host, { caFile: 'x', plainHttp: true })).toThrow('both asked for');
  });
});
