import { describe, expect, it } from 'vitest';
import { networkError, parseErrors, parseRetryAfter, RegistryError } from '../../src/registry/error.js';

const answer = (status: number, body = '', headers = {}) =>
  new RegistryError('GET http://h/v2/', { status, body, headers });

it.each([
  [400, 'FAILED', false],
  [401, 'DENIED', false],
  [403, 'DENIED', false],
  [404, 'NOT_FOUND', false],
  [405, 'UNSUPPORTED', false],
  [408, 'UNAVAILABLE', true],
  [413, 'LIMIT_EXCEEDED', false],
  [416, 'TRUNCATED', false],
  [429, 'UNAVAILABLE', true],
  [499, 'UNAVAILABLE', true],
  [500, 'UNAVAILABLE', true],
  [501, 'UNSUPPORTED', false],
  [503, 'UNAVAILABLE', true],
  [505, 'UNAVAILABLE', false],
  [507, 'NO_SPACE', false],
  [522, 'UNAVAILABLE', true],
])('status %i is %s', (status, code, temporary) => {
  expect(answer(status)).toMatchObject({ code, temporary, status });
});

describe('what the registry said', () => {
  it('is shown with its codes', () => {
    const body =
      '{"errors":[{"code":"NAME_UNKNOWN","message":"no such\\nname","detail":{"a":1}},{"code":"X"}]}';
    const error = answer(404, body, { 'x-request-id': 'abc-1' });
    expect(error.message).toBe(
      'GET http://h/v2/: the registry answered 404 (NAME_UNKNOWN: no such name; X) [request abc-1]',
    );
    expect(error.errors).toEqual([
      { code: 'NAME_UNKNOWN', message: 'no such name' },
      { code: 'X', message: '' },
    ]);
  });

  it.each([
    ['<html><body>Bad gateway</body></html>', '(an HTML page)'],
    ['plain words', '(plain words)'],
    ['\u001b[31mred\u0007', '( [31mred)'.replace('( ', '(')],
    ['x'.repeat(1000), `(${'x'.repeat(300)})`],
  ])('%j', (body, shown) => {
    expect(answer(400, body).message).toContain(shown);
  });

  it.each(['', 'null', '[]', '{"errors":null}', '{"errors":{}}', '{'])('is nothing for %j', (body) => {
    expect(parseErrors(body)).toEqual([]);
  });

  it('survives entries of any shape', () => {
    expect(parseErrors('{"errors":[null,1,{"code":2,"message":[]}]}')).toEqual(
      Array.from({ length: 3 }, () => ({ code: 'UNKNOWN', message: '' })),
    );
  });

  it('makes an error temporary when its code says so', () => {
    expect(answer(400, '{"errors":[{"code":"BLOB_UPLOAD_INVALID"}]}').temporary).toBe(true);
    expect(answer(400, '{"errors":[{"code":"DIGEST_INVALID"}]}').temporary).toBe(false);
  });

  it('gives a hint when HTTP met TLS', () => {
    expect(answer(400, 'Client sent an HTTP request to an HTTPS server.\n').hint).toContain(
      'leave out --plain-http',
    );
  });
});

it.each([
  ['0', 0],
  ['120', 120_000],
  [' 5 ', 5000],
  ['Wed, 21 Oct 2015 07:28:10 GMT', 10_000],
  ['Wed, 21 Oct 2015 07:27:00 GMT', 0],
  ['soon', undefined],
  ['-1', undefined],
  ['1.5', undefined],
  [undefined, undefined],
])('Retry-After %s is %s ms', (value, expected) => {
  expect(parseRetryAfter(value, Date.parse('Wed, 21 Oct 2015 07:28:00 GMT'))).toBe(expected);
});

describe('below HTTP', () => {
  const https = new URL('https://h.io/v2/');
  const failure = (code: string, message = code) => Object.assign(new Error(message), { code });

  it.each([
    ['ECONNREFUSED', true, 'nothing listens there'],
    ['UND_ERR_SOCKET', true, undefined],
    ['EAI_AGAIN', true, undefined],
    ['ENOTFOUND', false, 'check the name'],
    ['DEPTH_ZERO_SELF_SIGNED_CERT', false, '--ca FILE'],
    ['CERT_HAS_EXPIRED', false, 'the clock of this machine'],
    ['CERT_NOT_YET_VALID', false, 'the clock of this machine'],
    ['ERR_TLS_CERT_ALTNAME_INVALID', false, 'a name that its certificate has'],
    ['ERR_SSL_WRONG_VERSION_NUMBER', false, '--plain-http'],
  ])('%s', (code, temporary, hint) => {
    const error = networkError(failure(code), 'GET x', https);
    expect(error).toMatchObject({ code: 'UNAVAILABLE', temporary });
    expect(error.message).toMatch(/^GET x: /);
    if (hint === undefined) expect(error.hint).toBeUndefined();
    else expect(error.hint).toContain(hint);
  });

  it('says of a proxy that refuses which settings name it', () => {
    const request = 'GET x (through the proxy http://p:1)';
    expect(networkError(failure('ECONNREFUSED'), request, https).hint).toContain('HTTPS_PROXY');
  });

  it('passes errors that are already explained', () => {
    const error = answer(404);
    expect(networkError(error, 'GET x', https)).toBe(error);
  });
});

it('shows what a registry that limits requests says of its limits', () => {
  const headers = {
    'ratelimit-limit': '100;w=21600',
    'ratelimit-remaining': '0;w=21600',
    'docker-ratelimit-source': '192.0.2.1',
    'retry-after': '60',
  };
  expect(answer(429, '', headers).message).toBe(
    'GET http://h/v2/: the registry answered 429, limit 100;w=21600, remaining 0;w=21600, ' +
      'counted for 192.0.2.1, try again after 60',
  );
  expect(answer(503, '', headers).message).toBe('GET http://h/v2/: the registry answered 503');
});
