import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { toJsonSchema } from '@valibot/to-json-schema';
import { Command, Option } from 'commander';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { applyConfig, effectiveSettings } from '../../src/cli/config.js';
import { loadConfigs, MAX_CONFIG_FILE, parseConfig } from '../../src/cli/config-file.js';
import { configSchema, SETTINGS } from '../../src/cli/config-schema.js';
import { nearestWord } from '../../src/cli/nearest.js';
import { describeProgram } from '../../src/cli/program.js';
import { addCacheSizeOption } from '../../src/cli/size.js';

let dir: string;
beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'rafter-config-'));
});
afterEach(() => rmSync(dir, { recursive: true, force: true }));

const put = (name: string, text: string) => {
  const file = join(dir, name);
  mkdirSync(resolve(file, '..'), { recursive: true });
  writeFileSync(file, text);
  return file;
};

it('reads every key', async () => {
  const text = `
data-root: /srv/rafter
run-dir: /run/r
cache-size: 20G
driver: fuse
backing: loop
complete: after-ready
complete-rate: 5M
read-timeout: 30
p2p: http://127.0.0.1:4001
plain-http: [registry.local:5000, other]
convert:
  compressor: lz4
  level: 7
  chunk-size: 1M
  batch-size: 0
  jobs: 2
`;
  const values = await parseConfig(text, 'x.yaml');
  expect(values).toMatchObject({ 'data-root': '/srv/rafter', convert: { level: 7, 'batch-size': 0 } });
  const keys = Object.entries(values).flatMap(([key, value]) =>
    key === 'convert' ? Object.keys(value as object).map((inner) => `${key}.${inner}`) : [key],
  );
  expect(SETTINGS.map(({ path }) => path.join('.')).sort()).toEqual(keys.sort());
});

it.each(['', '# nothing\n', '{}'])('takes %j for a file that sets nothing', async (text) => {
  expect(await parseConfig(text, 'x.yaml')).toEqual({});
});

it.each([
  ['data-rot: /x', 'x.yaml:1:1: unknown key data-rot', 'did you mean data-root?'],
  ['driver: auto\nconvert:\n  levle: 3', 'x.yaml:3:3: unknown key convert.levle', 'did you mean level?'],
  ['quite-else: 1', 'x.yaml:1:1: unknown key quite-else', /^known are data-root, run-dir, /],
  ['driver: ext4', /^x\.yaml:1:1: driver: "ext4" is not .*"auto"/, undefined],
  ['data-root: here', 'x.yaml:1:1: data-root: It must be an absolute path.', undefined],
  ['cache-size: big', /^x\.yaml:1:1: cache-size: It must be a number of bytes/, undefined],
  ['plain-http:\n  - a\n  - http://b', /^x\.yaml:3:5: plain-http\.1: It must be HOST/, undefined],
  ['convert: fast', /^x\.yaml:1:1: convert: "fast" is not a group of lines KEY: VALUE/, undefined],
  ['[1]', 'x.yaml:1:1: the file must be made of lines KEY: VALUE', undefined],
  ['driver: auto\ndriver: fuse', /^x\.yaml:2:1: Map keys must be unique/, undefined],
  ['a: [1', /^x\.yaml:1:\d+: /, undefined],
  ['driver: !!js/function x', /^x\.yaml:1:9: /, undefined],
])('refuses %j with file, line and column', async (text, message, hint) => {
  const error = await parseConfig(text, 'x.yaml').catch((thrown) => thrown);
  expect(error).toMatchObject({ code: 'USAGE' });
  if (typeof message === 'string') expect(error.message).toBe(message);
  else expect(error.message).toMatch(message);
  if (hint === undefined) expect(error.hint).toMatch(/docs\/configuration\.md/);
  else if (typeof hint === 'string') expect(error.hint).toBe(hint);
  else expect(error.hint).toMatch(hint);
});

describe('files', () => {
  it('reads the file of the system and then that of the user', async () => {
    const systemFile = put('etc/config.yaml', 'driver: erofs\n');
    const file = put('home/rafter/config.yaml', 'driver: fuse\n');
    const env = { XDG_CONFIG_HOME: join(dir, 'home') };
    expect(await loadConfigs({ env, systemFile })).toEqual([
      { file: systemFile, values: { driver: 'erofs' } },
      { file, values: { driver: 'fuse' } },
    ]);
    expect(await loadConfigs({ env: { XDG_CONFIG_HOME: dir }, systemFile: join(dir, 'none') })).toEqual([]);
  });

  it('reads only a file that is named, which must be there', async () => {
    const systemFile = put('etc/config.yaml', 'driver: erofs\n');
    const named = put('named.yaml', 'driver: fuse\n');
    expect(await loadConfigs({ env: { RAFTER_CONFIG: named }, systemFile })).toMatchObject([{ file: named }]);
    const missing = loadConfigs({ env: {}, systemFile, file: join(dir, 'none.yaml') });
    await expect(missing).rejects.toMatchObject({ code: 'NOT_FOUND' });
    await expect(loadConfigs({ file: dir })).rejects.toMatchObject({ code: 'USAGE' });
  });

  it('has a limit, exact to the byte', async () => {
    const text = 'driver: fuse\n#';
    const fits = put('fits.yaml', text.padEnd(MAX_CONFIG_FILE, '#'));
    const long = put('long.yaml', text.padEnd(MAX_CONFIG_FILE + 1, '#'));
    expect(await loadConfigs({ file: fits })).toHaveLength(1);
    await expect(loadConfigs({ file: long })).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' });
  });
});

describe('precedence', () => {
  function command(argv: string[]): Command {
    const one = new Command('mount')
      .addOption(new Option('--data-root <dir>').env('RAFTER_TEST_ROOT').default('/default'))
      .option('--driver <name>')
      .option('--plain-http');
    addCacheSizeOption(one).parse(argv, { from: 'user' });
    return one;
  }
  const system = { file: '/s', values: { 'data-root': '/of-system', 'cache-size': '1G' } };
  const user = { file: '/u', values: { 'data-root': '/of-user', 'plain-http': ['a:1'] } };

  afterEach(() => delete process.env.RAFTER_TEST_ROOT);

  it('takes a flag before the environment, that before the files, those before the default', () => {
    const plain = command([]);
    applyConfig(plain, []);
    expect(plain.opts().dataRoot).toBe('/default');
    const filed = command([]);
    applyConfig(filed, [system, user]);
    expect(filed.opts()).toMatchObject({ dataRoot: '/of-user', cacheSize: 1e9, plainHttp: ['a:1'] });
    process.env.RAFTER_TEST_ROOT = '/of-env';
    const fromEnv = command([]);
    applyConfig(fromEnv, [system, user]);
    expect(fromEnv.opts().dataRoot).toBe('/of-env');
    const flagged = command(['--data-root', '/of-flag']);
    applyConfig(flagged, [system, user]);
    expect(flagged.opts().dataRoot).toBe('/of-flag');
  });

  it('gives defaults of a command to that command only', () => {
    const other = new Command('other').option('--level <n>').parse([], { from: 'user' });
    applyConfig(other, [{ file: '/c', values: { convert: { level: 3 } } }]);
    expect(other.opts().level).toBeUndefined();
  });

  it('names file and key for a value that the option does not take', () => {
    const wrong = { file: '/c', values: { 'cache-size': '5iB' } };
    expect(() => applyConfig(command([]), [wrong])).toThrow(
      expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(/^\/c: cache-size: It must/) }),
    );
  });

  it('says where each value is from', () => {
    const settings = effectiveSettings(command(['--data-root', '/x']), [system, user], {
      RAFTER_CACHE_SIZE: '2G',
    });
    const by = Object.fromEntries(settings.map((one) => [one.key, one]));
    expect(by['data-root']).toEqual({ key: 'data-root', value: '/x', from: 'flag', name: '--data-root' });
    expect(by['cache-size']).toMatchObject({ value: '2G', from: 'environment', name: 'RAFTER_CACHE_SIZE' });
    expect(by['plain-http']).toMatchObject({ value: ['a:1'], from: 'file', name: '/u' });
    expect(by['run-dir']).toMatchObject({ value: '/run/rafter', from: 'default' });
  });
});

it('names for every setting an option of a command, with the same default and environment', async () => {
  const program = await describeProgram();
  const leaves = program.commands.flatMap((one) => (one.commands.length === 0 ? [one] : one.commands));
  for (const { command, option, env, initial, path } of SETTINGS) {
    const options = leaves
      .filter((one) => command === undefined || one.name() === command)
      .flatMap((one) => one.options.filter(({ long }) => long === `--${option}`));
    expect(options.length, path.join('.')).toBeGreaterThan(0);
    for (const one of options) {
      expect(one.envVar, path.join('.')).toBe(env);
      if (one.defaultValue !== undefined)
        expect(String(one.defaultValue), path.join('.')).toBe(String(initial));
    }
  }
});

it('has a JSON schema in docs that is made of it', () => {
  const file = resolve(import.meta.dirname, '../../docs/config.schema.json');
  const { title: _, ...schema } = JSON.parse(readFileSync(file, 'utf8')) as Record<string, unknown>;
  expect(schema).toEqual(toJsonSchema(configSchema));
});

it.each([
  ['chunksize', 'chunk-size'],
  ['levl', 'level'],
  ['x', undefined],
  ['batch', undefined],
])('takes %j for %j', (word, found) => {
  expect(nearestWord(word, ['chunk-size', 'level', 'batch-size'])).toBe(found);
});
