import { Readable } from 'node:stream';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { createAuthenticator } from '../../src/registry/auth.js';
import type { Login } from '../../src/registry/auth-file.js';
import type { HttpRequest, Transport } from '../../src/registry/transport.js';

const scope = 'repository:team/app:pull,push';
let sent: HttpRequest[];
beforeEach(() => {
  sent = [];
});
afterEach(() => void vi.useRealTimers());

/** Answers every request with the next token. */
function tokenServer(expiresIn?: number): Transport {
  return {
    async send(request) {
      sent.push(request);
      const answer = { access_token: `t${sent.length}`, expires_in: expiresIn };
      return {
        status: 200,
        headers: {},
        url: request.url,
        body: Readable.from([Buffer.from(JSON.stringify(answer))]),
      };
    },
    close: async () => {},
  };
}

function authenticator(options: { registry?: string; login?: Login | undefined; expiresIn?: number } = {}) {
  const { registry = 'https://reg.example.com', login, expiresIn } = options;
  return createAuthenticator({
    registry: new URL(registry),
    transport: tokenServer(expiresIn),
    lookup: async () => login,
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
      scope,
      'repository:base/os:pull',
      'registry:catalog:*',
    ]);
  });
});

describe('a token', () => {
  const challenge = 'Bearer realm="https://a.example.com/"';

  it.each([
    [300, 290_000, 300_000],
    [undefined, 50_000, 60_000],
    [1, 50_000, 60_000],
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
    expect(await auth.header('repository:other:pull')).toBe('Bearer t2');
    expect(await auth.header(scope)).toBe('Bearer t1');
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
