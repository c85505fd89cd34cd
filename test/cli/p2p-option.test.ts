import { Command } from 'commander';
import { afterEach, describe, expect, it } from 'vitest';
import { applyConfig, effectiveSettings } from '../../src/cli/config.js';
import { parseConfig } from '../../src/cli/config-file.js';
import { peerFor } from '../../src/cli/peer-option.js';
import { addServingOptions, servingAccess } from '../../src/cli/serving-options.js';

const url = 'http://127.0.0.1:4001';
const image = 'registry.example.com/app:1';

afterEach(() => {
  delete process.env.RAFTER_P2P;
});

function parse(...args: string[]): Command {
  const command = addServingOptions(new Command('mount'))
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  return command.parse(args, { from: 'user' });
}

/** The peer for `name` with the command line `args` and a configuration file. */
async function peerWith(name: string, { args = [], file = '' }: { args?: string[]; file?: string }) {
  const command = parse(...args);
  applyConfig(command, [{ file: '/c', values: await parseConfig(file, '/c') }]);
  return peerFor(name, command.opts());
}

it('gives the daemon the URL of the Dragonfly peer, and nothing without one', async () => {
  const access = { plainHttp: true };
  expect(await servingAccess(image, access, parse('--p2p', url).opts())).toEqual({
    plainHttp: true,
    p2p: url,
  });
  expect(await servingAccess(image, access, parse().opts())).toEqual(access);
  expect(await servingAccess(image, access, parse('--p2p', 'off').opts())).toEqual(access);
});

it.each(['127.0.0.1:4001', 'ftp://a:1', 'http://a/path', 'http://user@a:1', 'http://', 'on'])(
  'refuses %s, as option and in the configuration file',
  async (wrong) => {
    expect(() => parse('--p2p', wrong)).toThrow('It must be http://HOST:PORT');
    await expect(parseConfig(`p2p: "${wrong}"`, 'config.yaml')).rejects.toThrow(
      'config.yaml:1:1: p2p: It must be',
    );
    await expect(parseConfig(`p2p:\n  default: "${wrong}"`, 'config.yaml')).rejects.toThrow(
      'config.yaml:2:3: p2p.default: It must be',
    );
  },
);

it('refuses what is no registry, and what is no URL at all', async () => {
  await expect(parseConfig(`p2p:\n  https://a: ${url}`, 'c')).rejects.toThrow(
    'c:2:3: p2p.https://a: It must be HOST or HOST:PORT, without a scheme.',
  );
  await expect(parseConfig('p2p: [1]', 'c')).rejects.toThrow('c:1:1: p2p: It must be http://HOST:PORT or');
});

it('takes a flag before the environment, and that before the file', async () => {
  const file = 'p2p: http://file:1';
  expect(await peerWith(image, { file })).toBe('http://file:1');
  process.env.RAFTER_P2P = 'http://env:1';
  expect(await peerWith(image, { file })).toBe('http://env:1');
  expect(await peerWith(image, { file, args: ['--p2p', url] })).toBe(url);
  expect(await peerWith(image, { file, args: ['--p2p', 'off'] })).toBeUndefined();
});

describe('one for each registry', () => {
  const file = `
p2p:
  registry.example.com: http://127.0.0.1:1
  registry.example.com:5000: off
  docker.io: http://127.0.0.1:2
  default: http://127.0.0.1:3
`;

  it.each([
    ['registry.example.com/app:1', 'http://127.0.0.1:1'],
    ['registry.example.com:5000/app:1', undefined],
    ['python:3.12', 'http://127.0.0.1:2'],
    ['registry-1.docker.io/library/python', 'http://127.0.0.1:2'],
    ['other.example.com/app', 'http://127.0.0.1:3'],
    ['oci:layout:app', undefined],
  ])('is for images of it: %s through %s', async (name, peer) => {
    expect(await peerWith(name, { file })).toBe(peer);
  });

  it('leaves out registries that are not named, without a default', async () => {
    expect(await peerWith(image, { file: `p2p: {docker.io: ${url}}` })).toBeUndefined();
  });

  it('counts less than an option, which is for all', async () => {
    expect(await peerWith('registry.example.com:5000/app', { file, args: ['--p2p', url] })).toBe(url);
  });

  it('is shown as it is', async () => {
    const configs = [{ file: '/c', values: await parseConfig(file, '/c') }];
    const shown = effectiveSettings(parse(), configs, {}).find(({ key }) => key === 'p2p');
    expect(shown).toMatchObject({ from: 'file', value: { 'registry.example.com:5000': 'off' } });
  });
});
