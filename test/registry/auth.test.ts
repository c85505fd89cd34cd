import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createAuthenticator } from '../../src/registry/auth.js';
import type { Login } from '../../src/registry/auth-file.js';
import type { HttpRequest, Transport } from '../../src/registry/transport.js';

const scope = ['repository:team/app:pull,push'];
let sent: HttpRequest[];
beforeEach(() => {
  sent = [];
});
afterEach(() => void vi.useRealTimers());

interface ServerOptions {
  expiresIn?: number;
  /** Members of the answer besides. */
  more?: Record<string, unknown>;
  headers?: Record<string, string>;
  /** Status by method and number of the request, 1 is the first; 200 if it has none. */
  status?: (method: string, count: number) => number;
}

/** Answers every request with the next token. */
function tokenServer({ expiresIn, more, headers = {}, status }: ServerOptions): Transport {
  return {
    async send(request) {
      sent.push(request);
      const answer = { access_token: `t${sent.length}`, expires_in: expiresIn, ...more };
      return {
        status: status?.(request.method, sent.length) ?? 200,
        headers,
        url: request.url,
        body: Readable.from([Buffer.from(JSON.stringify(answer))]),
      };
    },
    openSpares: async () => {},
    close: async () => {},
  };
}

function authenticator(
  options: ServerOptions & { registry?: string; login?: Login | undefined | (() => Login) } = {},
) {
  const { registry = 'https://reg.example.com', login } = options;
  return createAuthenticator({
    registry: new URL(registry),
    transport: tokenServer(options),
    lookup: async () => (typeof login === 'function' ? login() : login),
  });
}

describe('the token server', () => {
  it.each([
    ['https://reg.example.com', 'http://auth.example.com/token', 'is not https'],
    ['https://reg.example.com', 'https://10.1.2.3/token', 'inside this network'],
    ['https://reg.example.com', 'https://127.0.0.1/token', 'inside this network'],
    ['https://reg.example.com', 'https://169.254.169.254/latest', 'inside this network'],
    ['https://reg.example.com', 'https://172.16.0.1/', 'inside this network'],
    ['https://reg.example.com', 'https://192.168.1.1/', 'inside this network'],
    ['https://reg.example.com', 'https://[::1]/', 'inside this network'],
    ['https://reg.example.com', 'https://[fe80::1]/', 'inside this network'],
    ['https://reg.example.com', 'https://[fd00::1]/', 'inside this network'],
    ['https://reg.example.com', 'https://[::ffff:10.0.0.1]/', 'inside this network'],
    ['https://reg.example.com', 'https://localhost/', 'inside this network'],
    ['https://reg.example.com', 'https://user:pw@auth.example.com/', 'has credentials in it'],
  ])('of %s may not be %s', async (registry, realm, reason) => {
    const renewed = authenticator({ registry }).renew(scope, `Bearer realm="${realm}"`, undefined);
    await expect(renewed).rejects.toMatchObject({ code: 'DENIED', message: expect.stringContaining(reason) });
    expect(sent).toEqual([]);
  });

  it.each([
    ['https://reg.example.com', 'https://auth.example.com/token'],
    ['https://reg.example.com', 'https://172.32.0.1/token'],
    ['https://reg.example.com', '/token'],
    ['https://10.0.0.1:5000', 'https://10.0.0.2/token'],
    ['http://127.0.0.1:5000', 'http://127.0.0.1:5001/token'],
  ])('of %s may be %s', async (registry, realm) => {
    expect(await authenticator({ registry }).renew(scope, `Bearer realm="${realm}"`, undefined)).toBe(
      'Bearer t1',
    );
  });

  it('is asked for what is needed first, then for what the challenge adds', async () => {
    const challenge =
      'Bearer realm="https://a.example.com/",scope="repository:team/app:pull repository:base/os:pull registry:catalog:*"';
    await authenticator().renew(scope, challenge, undefined);
    expect(sent[0]!.url.searchParams.getAll('scope')).toEqual([
      ...scope,
      'repository:base/os:pull',
      'registry:catalog:*',
    ]);
  });
});

describe('a token', () => {
  const challenge = 'Bearer realm="https://a.example.com/"';

  it.each([
    [300, 289_000, 300_000],
    [undefined, 49_000, 60_000],
    [1, 49_000, 60_000],
  ])('that lives %s s is used for %i ms and renewed before %i', async (expiresIn, stillGood, over) => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const start = Date.now();
    const auth = authenticator(expiresIn === undefined ? {} : { expiresIn });
    expect(await auth.header(scope)).toBeUndefined();
    await auth.renew(scope, challenge, undefined);
    vi.setSystemTime(start + stillGood);
    expect(await auth.header(scope)).toBe('Bearer t1');
    vi.setSystemTime(start + over - 1);
    expect(await auth.header(scope)).toBe('Bearer t2');
  });

  it('is not used for another scope', async () => {
    const auth = authenticator();
    await auth.renew(scope, challenge, undefined);
    expect(await auth.header(['repository:other:pull'])).toBe('Bearer t2');
    expect(await auth.header(scope)).toBe('Bearer t1');
  });

  it('whose age the server tells lives shorter by that, whatever our clock says', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const start = Date.now();
    const auth = authenticator({
      expiresIn: 300,
      more: { issued_at: '2001-01-01T00:00:00Z' },
      headers: { date: 'Mon, 01 Jan 2001 00:02:00 GMT' },
    });
    await auth.renew(scope, challenge, undefined);
    vi.setSystemTime(start + 169_000);
    expect(await auth.header(scope)).toBe('Bearer t1');
    vi.setSystemTime(start + 171_000);
    expect(await auth.header(scope)).toBe('Bearer t2');
  });

  it('serves until it ends when the token server does not answer in time', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    const start = Date.now();
    const auth = authenticator({ expiresIn: 300, status: (_, count) => (count === 1 ? 200 : 503) });
    await auth.renew(scope, challenge, undefined);
    vi.setSystemTime(start + 295_000);
    expect(await auth.header(scope)).toBe('Bearer t1');
    expect(sent).toHaveLength(2);
    vi.setSystemTime(start + 301_000);
    await expect(auth.header(scope)).rejects.toMatchObject({ status: 503, temporary: true });
  });

  it('is got with the log-in that is configured by then', async () => {
    vi.useFakeTimers({ toFake: ['Date'] });
    let day = 0;
    const login = (): Login => ({ kind: 'password', username: 'u', password: `password-${day}` });
    const auth = authenticator({ login });
    await auth.renew(scope, challenge, undefined);
    for (day = 1; day <= 3; day++) {
      vi.setSystemTime(Date.now() + 86_400_000);
      await auth.header(scope);
    }
    const basic = (name: string) => `Basic ${Buffer.from(`u:${name}`).toString('base64')}`;
    expect(sent.map(({ headers }) => headers?.authorization)).toEqual(
      [0, 1, 2, 3].map((count) => basic(`password-${count}`)),
    );
  });

  it('for several scopes is one, however they are said', async () => {
    const auth = authenticator();
    await auth.renew(['repository:a:pull', 'repository:b:pull', 'repository:a:push'], challenge, undefined);
    expect(sent[0]!.url.searchParams.getAll('scope')).toEqual([
      'repository:a:pull,push',
      'repository:b:pull',
    ]);
    expect(await auth.header(['repository:a:pull,push', 'repository:b:pull'])).toBe('Bearer t1');
  });

  it.each([404, 405])('is asked for by POST where GET is answered %i', async (refused) => {
    const login: Login = { kind: 'password', username: 'u', password: 'p & q' };
    const auth = authenticator({ login, status: (method) => (method === 'GET' ? refused : 200) });
    expect(await auth.renew(scope, `${challenge},service="s"`, undefined)).toBe('Bearer t2');
    expect(sent.map(({ method }) => method)).toEqual(['GET', 'POST']);
    const form = new URLSearchParams(String(sent[1]!.body!.open()));
    expect(Object.fromEntries(form)).toEqual({
      grant_type: 'password',
      username: 'u',
      password: 'p & q',
      service: 's',
      scope: scope[0],
      client_id: 'rafter',
    });
    expect(sent[1]).toMatchObject({ isBodySecret: true });
  });

  it('that somebody else has renewed is taken as it is', async () => {
    const auth = authenticator();
    await auth.renew(scope, challenge, undefined);
    await auth.renew(scope, challenge, 'Bearer t1');
    expect(await auth.renew(scope, challenge, 'Bearer t1')).toBe('Bearer t2');
    expect(sent).toHaveLength(2);
  });
});

it('answers Basic with a password, nothing with no log-in, and a registry token as it is', async () => {
  const password: Login = { kind: 'password', username: 'a', password: 'b:c' };
  const basic = `Basic ${Buffer.from('a:b:c').toString('base64')}`;
  expect(await authenticator({ login: password }).renew(scope, 'Basic realm="x"', undefined)).toBe(basic);
  expect(await authenticator({ login: password }).renew(scope, 'Basic realm="x"', basic)).toBeUndefined();
  expect(await authenticator().renew(scope, 'Basic realm="x"', undefined)).toBeUndefined();
  expect(await authenticator({ login: password }).renew(scope, 'Negotiate', undefined)).toBeUndefined();
  expect(await authenticator({ login: password }).renew(scope, undefined, undefined)).toBeUndefined();
  const token: Login = { kind: 'registry-token', token: 'rt' };
  expect(
    await authenticator({ login: token }).renew(scope, 'Bearer realm="https://a.example.com/"', undefined),
  ).toBe('Bearer rt');
  expect(sent).toEqual([]);
});

it('answers Basic with the password that is configured by then', async () => {
  let day = 1;
  const login = (): Login => ({ kind: 'password', username: 'u', password: `password-${day}` });
  const auth = authenticator({ login });
  const first = await auth.renew(scope, 'Basic realm="x"', undefined);
  day = 2;
  const second = await auth.renew(scope, 'Basic realm="x"', first);
  expect(second).toBe(`Basic ${Buffer.from('u:password-2').toString('base64')}`);
  expect(await auth.header(scope)).toBe(second);
});
