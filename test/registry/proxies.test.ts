import { describe, expect, it } from 'vitest';
import { proxyFor } from '../../src/registry/proxies.js';

const proxy = 'http://proxy.example.com:3128';
const of = (url: string, env: NodeJS.ProcessEnv) => proxyFor(new URL(url), env)?.origin;

describe('the proxy', () => {
  it.each([
    ['https://h.io', { HTTPS_PROXY: proxy }, proxy],
    ['https://h.io', { https_proxy: proxy, HTTPS_PROXY: 'http://other' }, proxy],
    ['https://h.io', { HTTP_PROXY: proxy }, undefined],
    ['http://h.io', { HTTP_PROXY: proxy }, proxy],
    ['http://h.io', { HTTPS_PROXY: proxy }, undefined],
    ['https://h.io', { ALL_PROXY: proxy }, proxy],
    ['http://h.io', { all_proxy: proxy }, proxy],
    ['https://h.io', { HTTPS_PROXY: '', ALL_PROXY: proxy }, proxy],
    ['https://h.io', { HTTPS_PROXY: 'proxy.example.com:3128' }, proxy],
    ['https://h.io', {}, undefined],
    ['https://127.0.0.1:5000', { ALL_PROXY: proxy }, undefined],
    ['https://localhost', { ALL_PROXY: proxy }, undefined],
    ['https://[::1]', { ALL_PROXY: proxy }, undefined],
  ])('for %s with %j is %s', (url, env, expected) => {
    expect(of(url, env)).toBe(expected);
  });

  it.each(['http://[', 'ftp://user:s3cret@h', 'user:s3cret@[', 'socks4://h:1'])(
    'is not %s, which is not shown',
    (value) => {
      const read = () => of('https://h.io', { HTTPS_PROXY: value });
      expect(read).toThrow('HTTPS_PROXY is not the URL of a proxy');
      expect(read).not.toThrow('s3cret');
    },
  );
});

describe('NO_PROXY', () => {
  it.each([
    ['*', 'https://h.io', true],
    ['h.io', 'https://h.io', true],
    ['H.IO', 'https://h.io', true],
    ['h.io', 'https://a.h.io', true],
    ['h.io', 'https://ah.io', false],
    ['.h.io', 'https://h.io', false],
    ['.h.io', 'https://a.h.io', true],
    ['*.h.io', 'https://a.b.h.io', true],
    ['h.io:5000', 'https://h.io:5000', true],
    ['h.io:5000', 'https://h.io', false],
    ['h.io:443', 'https://h.io', true],
    ['h.io:80', 'http://h.io', true],
    ['a.io, ,h.io', 'https://h.io', true],
    ['a.io h.io', 'https://h.io', true],
    ['a.io', 'https://h.io', false],
    ['10.0.0.0/8', 'https://10.1.2.3', true],
    ['10.0.0.0/8', 'https://11.1.2.3', false],
    ['10.0.0.0/8', 'https://h.io', false],
    ['10.1.2.3', 'https://10.1.2.3:5000', true],
    ['10.1.2.3:5000', 'https://10.1.2.3:5000', true],
    ['10.1.2.3:5000', 'https://10.1.2.3', false],
    ['0.0.0.0/0', 'https://10.1.2.3', true],
    ['fd00::/8', 'https://[fd12::1]', true],
    ['fd00::/8', 'https://[fe80::1]', false],
    ['fd00::1', 'https://[fd00::1]:5000', true],
    ['[fd00::1]:5000', 'https://[fd00::1]:5000', true],
    ['[fd00::1]:5000', 'https://[fd00::1]', false],
    ['10.0.0.0/99', 'https://10.1.2.3', false],
    ['', 'https://h.io', false],
    [':', 'https://h.io', false],
  ])('%j excepts %s: %s', (noProxy, url, isExcepted) => {
    expect(of(url, { ALL_PROXY: proxy, NO_PROXY: noProxy })).toBe(isExcepted ? undefined : proxy);
    expect(of(url, { ALL_PROXY: proxy, no_proxy: noProxy, NO_PROXY: 'x.y' })).toBe(
      isExcepted ? undefined : proxy,
    );
  });
});
