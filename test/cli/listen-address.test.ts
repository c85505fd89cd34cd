import { expect, it } from 'vitest';
import { parseListenAddress } from '../../src/cli/listen-address.js';

it('is a port of this machine, or host and port', () => {
  expect(parseListenAddress('9464')).toEqual({ host: '127.0.0.1', port: 9464 });
  expect(parseListenAddress('0.0.0.0:80')).toEqual({ host: '0.0.0.0', port: 80 });
  expect(parseListenAddress('node-1.example.com:65535')).toEqual({
    host: 'node-1.example.com',
    port: 65_535,
  });
  expect(parseListenAddress('[::1]:0')).toEqual({ host: '::1', port: 0 });
});

it.each(['', ':80', '65536', '::1:80', 'a b:1', 'host', 'host:', '[x]:1', '-1', '80x'])(
  'is not %j',
  (text) => {
    expect(() => parseListenAddress(text)).toThrow('PORT');
  },
);
