import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findEndpoints } from '../../../src/registry/hosts/find-endpoints.js';
import type { RegistryOptions } from '../../../src/registry/options.js';

let directory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-endpoints-'));
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

async function find(registry: string, options: RegistryOptions = {}): Promise<string[]> {
  const places = {
    hostsDir: join(directory, 'hosts'),
    registriesConf: [join(directory, 'registries.conf')],
    registriesConfDirs: [],
  };
  const endpoints = await findEndpoints({ registry, repository: 'team/app' }, { places, ...options });
  return endpoints.map(({ api, repository }) => `${api.href}/${repository}`);
}
const conf = (text: string) => writeFileSync(join(directory, 'registries.conf'), text);
function hosts(host: string, text: string): void {
  mkdirSync(join(directory, 'hosts', host), { recursive: true });
  writeFileSync(join(directory, 'hosts', host, 'hosts.toml'), text);
}

it.each([
  ['h.io', {}, 'https://h.io/v2/team/app'],
  ['h.io:5000', { plainHttp: true }, 'http://h.io:5000/v2/team/app'],
  ['h.io:5000', { plainHttp: ['other', 'h.io:5000'] }, 'http://h.io:5000/v2/team/app'],
  ['h.io:5000', { plainHttp: ['h.io'] }, 'https://h.io:5000/v2/team/app'],
  ['127.0.0.1:5000', { plainHttp: ['h.io'] }, 'http://127.0.0.1:5000/v2/team/app'],
  ['[::1]:5000', {}, 'http://[::1]:5000/v2/team/app'],
  ['127.0.0.1', { caFile: '/x' }, 'https://127.0.0.1/v2/team/app'],
  ['registry-1.docker.io', {}, 'https://registry-1.docker.io/v2/team/app'],
])('%s with %j and no configuration is one server', async (registry, options, expected) => {
  expect(await find(registry, options)).toEqual([expected]);
});

it('lets hosts.toml decide, but not what registries.conf blocks', async () => {
  conf('[[registry]]\nlocation = "h.io"\n[[registry.mirror]]\nlocation = "conf.io"\n');
  expect(await find('h.io')).toEqual(['https://conf.io/v2/team/app', 'https://h.io/v2/team/app']);
  hosts('h.io', '[host."https://toml.io"]\n');
  expect(await find('h.io')).toEqual(['https://toml.io/v2/team/app', 'https://h.io/v2/team/app']);
  conf('[[registry]]\nlocation = "h.io/team"\nblocked = true\n');
  await expect(find('h.io')).rejects.toMatchObject({ code: 'DENIED' });
});

it('finds Docker Hub under the name that users have for it', async () => {
  hosts('docker.io', 'server = "https://docker.io"\n[host."https://mirror.io"]\n');
  expect(await find('registry-1.docker.io')).toEqual([
    'https://mirror.io/v2/team/app',
    'https://registry-1.docker.io/v2/team/app',
  ]);
});

it('takes the scheme that was asked for, for the registry alone', async () => {
  hosts('h.io', 'server = "http://moved.io:5000/x"\n[host."http://mirror.io"]\n');
  const at = (scheme: string) => ['http://mirror.io/v2/team/app', `${scheme}://moved.io:5000/x/v2/team/app`];
  expect(await find('h.io')).toEqual(at('http'));
  expect(await find('h.io', { caFile: '/x' })).toEqual(at('https'));
  hosts('h.io', 'server = "https://moved.io:5000/x"\n[host."http://mirror.io"]\n');
  expect(await find('h.io', { plainHttp: true })).toEqual(at('http'));
});
