import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { findEndpoints } from '../../../src/registry/hosts/find-endpoints.js';
import {
  findRegistryRule,
  MAX_DROP_INS,
  MAX_REGISTRIES,
} from '../../../src/registry/hosts/registries-conf.js';

let directory: string;
let dropIns: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rafter-conf-'));
  dropIns = join(directory, 'conf.d');
  mkdirSync(dropIns);
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

const main = () => join(directory, 'registries.conf');
const places = () => ({ registriesConf: [join(directory, 'none'), main()], registriesConfDirs: [dropIns] });
const find = (name: string) => findRegistryRule(places(), name);

it('is not there', async () => {
  expect(await find('docker.io/library/python')).toBeUndefined();
});

it('takes the rule of the longest prefix, at the border of a component', async () => {
  writeFileSync(
    main(),
    `unqualified-search-registries = ["docker.io"]
[[registry]]
location = "h.io"
[[registry]]
prefix = "h.io/team"
location = "team.example.com/them"
[[registry]]
prefix = "*.corp.example.com"
location = "corp.io"
[[registry]]
prefix = "exact.corp.example.com"
location = "exact.io"
`,
  );
  const location = async (name: string) => (await find(name))?.location.name;
  expect(await location('h.io/a')).toBe('h.io/a');
  expect(await location('h.io/team/app')).toBe('team.example.com/them/app');
  expect(await location('h.io/teams')).toBe('h.io/teams');
  expect(await location('h.io.evil.com/a')).toBeUndefined();
  expect(await location('a.b.corp.example.com/x/y')).toBe('corp.io/x/y');
  expect(await location('exact.corp.example.com/x')).toBe('exact.io/x');
  expect(await location('corp.example.com/x')).toBeUndefined();
});

it('has mirrors for everything, for digests, for tags', async () => {
  writeFileSync(
    main(),
    `[[registry]]
prefix = "docker.io"
[[registry.mirror]]
location = "one.io/hub"
insecure = true
[[registry.mirror]]
location = "two.io"
pull-from-mirror = "digest-only"
[[registry.mirror]]
location = "three.io"
pull-from-mirror = "tag-only"
`,
  );
  const both = { byTag: true, byDigest: true };
  expect((await find('docker.io/library/x'))?.mirrors).toEqual([
    { name: 'one.io/hub/library/x', insecure: true, reads: both },
    { name: 'two.io/library/x', insecure: false, reads: { ...both, byTag: false } },
    { name: 'three.io/library/x', insecure: false, reads: { ...both, byDigest: false } },
  ]);
  const endpoints = await findEndpoints(
    { registry: 'registry-1.docker.io', repository: 'library/x' },
    { places: { ...places(), hostsDir: join(directory, 'none'), certsDirs: [] } },
  );
  expect(endpoints).toMatchObject([
    { api: new URL('https://one.io/v2'), repository: 'hub/library/x', isMirror: true, mayBePlain: true },
    { api: new URL('https://two.io/v2'), repository: 'library/x', isMirror: true },
    { api: new URL('https://three.io/v2'), repository: 'library/x', isMirror: true },
    { api: new URL('https://registry-1.docker.io/v2'), repository: 'library/x', isMirror: false },
  ]);
  expect(endpoints.map(({ tls }) => tls.skipVerify)).toEqual([true, false, false, false]);
});

it('is added to by drop-in files, of which the last one counts', async () => {
  writeFileSync(main(), '[[registry]]\nlocation = "h.io"\n');
  writeFileSync(join(dropIns, '2.conf'), '[[registry]]\nlocation = "h.io"\nblocked = true\n');
  writeFileSync(join(dropIns, '1.conf'), '[[registry]]\nlocation = "h.io"\ninsecure = true\n');
  writeFileSync(join(dropIns, '3.txt'), 'nonsense');
  expect(await find('h.io/x')).toMatchObject({ blocked: true, path: join(dropIns, '2.conf') });
  const endpoints = findEndpoints({ registry: 'h.io', repository: 'x' }, { places: places() });
  await expect(endpoints).rejects.toMatchObject({
    code: 'DENIED',
    hint: expect.stringContaining('2.conf'),
  });
});

it('may be of the first version', async () => {
  writeFileSync(
    main(),
    `[registries.search]
registries = ["docker.io"]
[registries.insecure]
registries = ["i.io"]
[registries.block]
registries = ["b.io"]
`,
  );
  expect(await find('i.io/x')).toMatchObject({ blocked: false, location: { insecure: true } });
  expect(await find('b.io/x')).toMatchObject({ blocked: true });
});

it.each([
  ['[[registry]]\nblocked = true', 'neither prefix nor location'],
  ['[[registry]]\nlocation = 5', 'registry.0.location'],
  [
    '[[registry]]\nlocation="a"\n[[registry.mirror]]\nlocation="b"\npull-from-mirror="no"',
    'pull-from-mirror',
  ],
  ['s3cret', 'line 1'],
])('names file and field when it is wrong: %s', async (text, message) => {
  writeFileSync(main(), text);
  const error = await find('a/x').catch((caught: Error) => caught);
  expect(error).toMatchObject({ code: 'MALFORMED', message: expect.stringContaining(main()) });
  expect(String(error)).toContain(message);
  expect(String(error)).not.toContain('s3cret');
});

it('has limits', async () => {
  const rules = (count: number) =>
    Array.from({ length: count }, (_, i) => `[[registry]]\nlocation = "h${i}.io"\n`).join('');
  writeFileSync(main(), rules(MAX_REGISTRIES));
  expect(await find('h1.io/x')).toBeDefined();
  writeFileSync(main(), rules(MAX_REGISTRIES + 1));
  await expect(find('h1.io/x')).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  writeFileSync(main(), '');
  for (let i = 0; i < MAX_DROP_INS; i++) writeFileSync(join(dropIns, `${i}.conf`), '');
  expect(await find('h1.io/x')).toBeUndefined();
  writeFileSync(join(dropIns, 'more.conf'), '');
  await expect(find('h1.io/x')).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
});
