import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { LayoutTarget } from '../../src/image/layout/layout-target.js';
import { storeImage } from '../support/layout-image.js';

const checkout = resolve(import.meta.dirname, '../..');
const dir = mkdtempSync(join(tmpdir(), 'rafter-install-'));
afterAll(() => rmSync(dir, { recursive: true, force: true }));

interface Packed {
  filename: string;
  size: number;
  files: { path: string }[];
}

interface Lock {
  packages: Record<string, { dev?: boolean; hasInstallScript?: boolean; version?: string }>;
}

let packed: Packed;
const installed = join(dir, 'lib/node_modules/rafter');
const lock = JSON.parse(readFileSync(join(checkout, 'package-lock.json'), 'utf8')) as Lock;
const packages = Object.entries(lock.packages).filter(([path]) => path.startsWith('node_modules/'));

/** Puts the package where `npm install --global` would, with the packages that users get, and no others. */
beforeAll(() => {
  const npm = ['pack', '--json', '--ignore-scripts', '--loglevel=error', '--pack-destination', dir];
  const output = execFileSync('npm', npm, { cwd: checkout, encoding: 'utf8' });
  [packed] = JSON.parse(output) as [Packed];
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['xzf', join(dir, packed.filename), '-C', installed, '--strip-components=1']);
  for (const [path, { dev }] of packages) {
    if (dev || path.lastIndexOf('node_modules/') > 0) continue;
    mkdirSync(dirname(join(installed, path)), { recursive: true });
    symlinkSync(join(checkout, path), join(installed, path));
  }
  mkdirSync(join(dir, 'bin'));
  symlinkSync('../lib/node_modules/rafter/bin/rafter', join(dir, 'bin/rafter'));
});

const rafter = (...args: string[]) =>
  execFileSync(process.execPath, [join(dir, 'bin/rafter'), ...args], {
    cwd: dir,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
  });

it('packs the program and its documentation: no sources, tests, types or source maps', () => {
  const names = packed.files.map(({ path }) => path);
  expect(names).toEqual(expect.arrayContaining(['dist/bundle/main.js', 'dist/bundle/THIRD-PARTY.txt']));
  expect(names).toContain('bin/rafter');
  const known = [
    /^dist\/bundle\/([\w-]+\.js|package\.json|THIRD-PARTY\.txt)$/,
    /^dist\/bundle\/bytecode\/v[\d.]+-\w+\/[\w-]+\.js$/,
    /^(docs\/.*\.(md|json)|man\/.*\.1)$/,
    /^(bin\/(rafter|package\.json)|package\.json|README\.md|LICENSE)$/,
  ];
  expect(names.filter((name) => !known.some((pattern) => pattern.test(name)))).toEqual([]);
  expect(names.filter((name) => name.includes('test'))).toEqual([]);
  expect(packed.size).toBeLessThan(2_500_000);
});

it('brings bytecode that V8 takes, of what starts containers and the daemon', () => {
  const bundle = join(installed, 'dist/bundle');
  const bytecode = join(bundle, 'bytecode', `${process.version}-${process.arch}`);
  const names = readdirSync(bytecode);
  const wanted = ['main.js', 'command-line.js', 'client.js', 'running.js', 'daemon-command.js', 'daemon.js'];
  expect(names).toEqual(expect.arrayContaining(wanted));
  const script = `const { Module } = module.constructor;
    for (const name of ${JSON.stringify(names)}) {
      const source = Module.wrap(fs.readFileSync(${JSON.stringify(bundle)} + '/' + name, 'utf8'));
      const cachedData = fs.readFileSync(${JSON.stringify(bytecode)} + '/' + name);
      if (new vm.Script(source, { cachedData }).cachedDataRejected) console.log(name);
    }`;
  expect(execFileSync(process.execPath, ['-e', script], { encoding: 'utf8' })).toBe('');
});

it('brings the licences of all packages that are part of the bundle', () => {
  const text = readFileSync(join(installed, 'dist/bundle/THIRD-PARTY.txt'), 'utf8');
  const sources = readdirSync(join(checkout, 'src'), { recursive: true, encoding: 'utf8' });
  const imported = new Set(
    sources
      .filter((name) => name.endsWith('.ts') && !name.endsWith('.d.ts'))
      .map((name) => readFileSync(join(checkout, 'src', name), 'utf8'))
      .flatMap((source) => [...source.matchAll(/^(?:import (?!type).* |} )from '([a-z][^:']*)'/gm)])
      .map(([, name]) => name!.split('/')[0]!),
  );
  expect(imported).toContain('undici');
  for (const name of imported) {
    const { version } = lock.packages[`node_modules/${name}`]!;
    expect(text).toMatch(new RegExp(`^${name} ${version?.replaceAll('.', '\\.')} \\(.+\\)\n\n.{20}`, 'ms'));
  }
});

it('loads commands only where they are run: neither into the supervisor nor into threads', () => {
  const bundle = join(installed, 'dist/bundle');
  const loadedBy = (file: string, seen = new Set<string>()): Set<string> => {
    if (seen.has(file)) return seen;
    seen.add(file);
    const text = readFileSync(join(bundle, file), 'utf8');
    for (const [, next] of text.matchAll(/^(?:const \S+ = )?require\("\.\/(.+)"\)/gm)) loadedBy(next!, seen);
    return seen;
  };
  expect([...loadedBy('main.js')].toSorted()).toEqual(['base.js', 'main.js']);
  for (const name of ['supervisor-main', 'fuse-reader', 'pack-worker', 'unpack-worker'])
    expect([...loadedBy(`${name}.js`)].filter((file) => /^(command|client)/.test(file))).toEqual([]);
  expect([...loadedBy('commands.js')]).not.toContain('valibot.js');
  // Before the daemon has the question of `rafter run`.
  const before = [...loadedBy('client.js', loadedBy('command-line.js'))];
  expect(before.toSorted()).toEqual([
    'base.js',
    'client.js',
    'command-line.js',
    'rolldown-runtime.js',
    'system.js',
  ]);
  const ofNode = before.flatMap((file) =>
    [...readFileSync(join(bundle, file), 'utf8').matchAll(/^let \S+ = require\("node:(.+)"\)/gm)].map(
      ([, name]) => name,
    ),
  );
  expect([...new Set(ofNode)].toSorted()).toEqual([
    'events',
    'fs',
    'module',
    'net',
    'os',
    'path',
    'timers/promises',
    'url',
  ]);
});

it('has of packages only what is used: nobody takes all of valibot by importing it where it runs', () => {
  const text = readFileSync(join(installed, 'dist/bundle/valibot.js'), 'utf8');
  expect(text).toContain('safeParse');
  expect(text).not.toContain('creditCard');
});

it('says its version where it was installed, by the link that npm makes', () => {
  const { version } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as { version: string };
  expect(rafter('--version')).toBe(`${version}\n`);
});

it('converts and checks an image with nothing but what users get', async () => {
  const target = new LayoutTarget({ transport: 'oci', path: join(dir, 'images'), tag: 'plain' });
  await storeImage(
    target,
    { hello: Buffer.from('hello, world'), zeros: Buffer.alloc(3 << 20) },
    { tag: true },
  );
  await target.commit();
  const options = ['--data-root', join(dir, 'data'), '--json'];
  const convert = ['convert', ...options, '--quiet', 'oci:images:plain', 'oci:images:lazy'];
  const { stdout, stderr } = spawnSync(process.execPath, [join(dir, 'bin/rafter'), ...convert], {
    cwd: dir,
    encoding: 'utf8',
  });
  // Not even a warning of Node.js.
  expect(stderr).toBe('');
  const summary = JSON.parse(stdout) as { target: { digest: string } };
  expect(summary.target.digest).toMatch(/^sha256:/);
  expect(rafter('check', 'oci:images:lazy', '--source', 'oci:images:plain')).toContain(': good');
});

it('names every package that runs a script while it is installed', () => {
  const { allowScripts } = JSON.parse(readFileSync(join(checkout, 'package.json'), 'utf8')) as {
    allowScripts: Record<string, boolean>;
  };
  const scripted = packages.flatMap(([path, { dev, hasInstallScript }]) =>
    hasInstallScript && !dev ? [path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)] : [],
  );
  expect(Object.keys(allowScripts).sort()).toEqual(scripted.sort());
});
