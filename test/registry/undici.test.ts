import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { ConnectionPool, createConnector, sendThrough } from '../../src/registry/undici.js';
import { createProxyAgent } from '../../src/registry/undici-proxy.js';

const require = createRequire(import.meta.url);
const root = resolve(import.meta.dirname, '../..');

it('takes the same parts that the main file of undici exports', async () => {
  const undici: typeof import('undici') = require('undici');
  expect(ConnectionPool).toBe(undici.Pool);
  expect(createConnector).toBe(undici.buildConnector);
  const proxy = createProxyAgent({ uri: 'http://127.0.0.1:1' });
  expect(proxy).toBeInstanceOf(undici.ProxyAgent);
  await proxy.close();
});

it('sends what the request function of undici sends', async () => {
  const undici: typeof import('undici') = require('undici');
  const server = createServer((request, response) => response.end(`${request.method} ${request.url}`));
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const pool = new ConnectionPool(origin);
  try {
    for (const place of ['/', '/a/b?c=d&e', '/%2Fa', '?x']) {
      const url = new URL(place, origin);
      const ours = await sendThrough(pool, url, { method: 'GET' });
      const theirs = await undici.request(url, { dispatcher: pool });
      expect(ours.statusCode).toBe(200);
      expect(await ours.body.text()).toBe(await theirs.body.text());
    }
  } finally {
    await pool.close();
    server.close();
  }
});

it('names the exact version, as these files may move in any other', () => {
  const { devDependencies } = JSON.parse(readFileSync(resolve(root, 'package.json'), 'utf8'));
  expect(devDependencies.undici).toMatch(/^\d+\.\d+\.\d+$/);
  expect(devDependencies.undici).toBe(require('undici/package.json').version);
});

it('does not load the rest of undici', async () => {
  const files = ['pool', 'client'].map((name) => `lib/dispatcher/${name}.js`);
  const script = `
    require('undici/lib/dispatcher/pool.js');
    require('undici/lib/core/connect.js');
    require('undici/lib/api/api-request.js');
    console.log(JSON.stringify(Object.keys(require.cache)));`;
  const { stdout } = await promisify(execFile)(process.execPath, ['-e', script], { cwd: root });
  const loaded: string[] = JSON.parse(stdout);
  for (const file of files) expect(loaded.some((path) => path.endsWith(file))).toBe(true);
  expect(loaded.filter((path) => /undici\/(index|lib\/(web|mock|cache)\/)/.test(path))).toEqual([]);
});
