import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { MAX_CONFIG_SIZE } from '../../../src/registry/hosts/config-file.js';
import { plainEndpoint } from '../../../src/registry/hosts/endpoint.js';
import { MAX_HOSTS, readHostsToml } from '../../../src/registry/hosts/hosts-toml.js';

let hostsDir: string;
beforeEach(() => {
  hostsDir = mkdtempSync(join(tmpdir(), 'rafter-hosts-'));
});
afterEach(() => rmSync(hostsDir, { recursive: true, force: true }));

function write(name: string, text: string): void {
  const path = join(hostsDir, name);
  mkdirSync(dirname(path), { recursive: true });
  writeFileSync(path, text);
}
function read(host = 'docker.io') {
  const api = host === 'docker.io' ? 'registry-1.docker.io' : host;
  return readHostsToml({ hostsDir, host, origin: plainEndpoint(new URL(`https://${api}/v2`), 'team/app') });
}
const apis = async (host?: string) => (await read(host))?.map(({ api }) => api.href);

it('is not there', async () => {
  expect(await read()).toBeUndefined();
});

it('lists mirrors in their order, the registry last', async () => {
  write(
    'docker.io/hosts.toml',
    `server = "https://docker.io"

[host."https://one.example.com"]
  capabilities = ["pull"]
[host."http://two.example.com:5000/prefix"]
  capabilities = ["pull", "resolve"]
  dial_timeout = "1m30s"
[host."three.example.com/own/path"]
  override_path = true
[host."127.0.0.1:5000"]
  [host."127.0.0.1:5000".header]
    x-one = "1"
    x-many = ["2", "3"]
`,
  );
  const endpoints = (await read())!;
  expect(endpoints.map(({ api }) => api.href)).toEqual([
    'https://one.example.com/v2',
    'http://two.example.com:5000/prefix/v2',
    'https://three.example.com/own/path',
    'http://127.0.0.1:5000/v2',
    'https://registry-1.docker.io/v2',
  ]);
  expect(endpoints.map(({ isMirror }) => isMirror)).toEqual([true, true, true, true, false]);
  expect(endpoints.map(({ namespace }) => namespace)).toEqual([...Array(4).fill('docker.io'), undefined]);
  expect(endpoints[0]!.reads).toEqual({ byTag: false, byDigest: true });
  expect(endpoints[1]).toMatchObject({ reads: { byTag: true, byDigest: true }, connectMs: 90_000 });
  expect(endpoints[3]!.headers).toEqual({ 'x-one': '1', 'x-many': '2, 3' });
});

it('has certificates, relative to its own directory', async () => {
  write(
    'h.io/hosts.toml',
    `ca = "own.crt"
skip_verify = true
[host."https://a.example.com"]
  ca = ["/etc/a.pem", "b.pem"]
  client = [["c.cert", "c.key"], ["d.pem"]]
[host."https://b.example.com"]
  client = "both.pem"
`,
  );
  const file = (name: string) => join(hostsDir, 'h.io', name);
  expect((await read('h.io'))!.map(({ tls }) => tls)).toEqual([
    {
      ca: ['/etc/a.pem', file('b.pem')],
      clients: [
        { cert: file('c.cert'), key: file('c.key') },
        { cert: file('d.pem'), key: file('d.pem') },
      ],
      skipVerify: false,
    },
    { ca: [], clients: [{ cert: file('both.pem'), key: file('both.pem') }], skipVerify: false },
    { ca: [file('own.crt')], clients: [], skipVerify: true },
  ]);
});

it('is found by host and port, with an underscore, and for all hosts', async () => {
  write('_default/hosts.toml', 'server = "https://default.example.com"');
  expect(await apis('h.io:5000')).toEqual(['https://default.example.com/v2']);
  write('h.io:5000/hosts.toml', 'server = "https://named.example.com"');
  expect(await apis('h.io:5000')).toEqual(['https://named.example.com/v2']);
  write('h.io_5000_/hosts.toml', 'server = "https://underscored.example.com"');
  expect(await apis('h.io:5000')).toEqual(['https://underscored.example.com/v2']);
  expect((await read('h.io:5000'))![0]).toMatchObject({ isMirror: false, namespace: 'h.io:5000' });
});

it('may be missing in a directory of certificates', async () => {
  write('h.io/a.crt', '');
  write('h.io/b.cert', '');
  write('h.io/b.key', '');
  const file = (name: string) => join(hostsDir, 'h.io', name);
  expect(await read('h.io')).toMatchObject([
    { tls: { ca: [file('a.crt')], clients: [{ cert: file('b.cert'), key: file('b.key') }] } },
  ]);
  write('h.io/c.cert', '');
  await expect(read('h.io')).rejects.toMatchObject({ code: 'NOT_FOUND' });
});

describe('is MALFORMED, without what is in it, when', () => {
  it.each([
    ['it is no TOML', 'server = s3cret', 'line 1'],
    ['a field has the wrong type', '[host."https://a.io"]\ncapabilities = "s3cret"', 'capabilities'],
    ['its server is no URL', 'server = "https://["', 'server'],
    ['a server has a password', 'server = "https://user:s3cret@h.io"', 'server'],
    ['a mirror has a query', '[host."https://a.io/?token=s3cret"]', 'host'],
    ['a duration is none', '[host."https://a.io"]\ndial_timeout = "s3cret"', 'dial_timeout'],
    ['a header has a line end', '[host."https://a.io".header]\nx = "a\\ns3cret"', 'header'],
    ['a client is three files', 'client = [["s3cret", "b", "c"]]', 'client'],
  ])('%s', async (what, text, message) => {
    write('h.io/hosts.toml', text);
    const error = await read('h.io').catch((caught: Error) => caught);
    expect(error).toMatchObject({ code: 'MALFORMED', message: expect.stringContaining('hosts.toml') });
    expect(String(error)).toContain(message);
    // The name of a mirror is named, so that it is found; it is a query that the redaction takes out.
    expect(String(error), what).not.toContain('s3cret');
  });
});

it.skipIf(process.getuid?.() !== 0)(
  'is not there for a user who may not look into the directory',
  async () => {
    write('h.io/hosts.toml', 'server = "https://s.io"');
    chmodSync(hostsDir, 0o700);
    process.seteuid!(65534);
    try {
      expect(await read('h.io')).toBeUndefined();
    } finally {
      process.seteuid!(0);
    }
    expect(await apis('h.io')).toEqual(['https://s.io/v2']);
  },
);

it('has limits', async () => {
  const hosts = (count: number) =>
    Array.from({ length: count }, (_, i) => `[host."https://h${i}.io"]`).join('\n');
  write('h.io/hosts.toml', hosts(MAX_HOSTS));
  expect(await read('h.io')).toHaveLength(MAX_HOSTS + 1);
  write('h.io/hosts.toml', hosts(MAX_HOSTS + 1));
  await expect(read('h.io')).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  const padded = (size: number) => `server = "https://s.io"\n${'#'.repeat(size - 24)}`;
  write('h.io/hosts.toml', padded(MAX_CONFIG_SIZE));
  expect(await apis('h.io')).toEqual(['https://s.io/v2']);
  write('h.io/hosts.toml', padded(MAX_CONFIG_SIZE + 1));
  await expect(read('h.io')).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
});
