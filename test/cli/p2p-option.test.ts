import { Command } from 'commander';
import { expect, it } from 'vitest';
import { parseConfig } from '../../src/cli/config-file.js';
import { addServingOptions, type ServingCliOptions, servingAccess } from '../../src/cli/serving-options.js';

function parse(...args: string[]): ServingCliOptions {
  const command = addServingOptions(new Command('mount'))
    .exitOverride()
    .configureOutput({ writeErr: () => {} });
  return command.parse(args, { from: 'user' }).opts();
}

it('gives the daemon the URL of the Dragonfly peer, and nothing without one', () => {
  const access = { plainHttp: true };
  expect(servingAccess(access, parse('--p2p', 'http://127.0.0.1:4001'))).toEqual({
    plainHttp: true,
    p2p: 'http://127.0.0.1:4001',
  });
  expect(servingAccess(access, parse())).toEqual(access);
});

it.each(['127.0.0.1:4001', 'ftp://a:1', 'http://a/path', 'http://user@a:1', 'http://'])(
  'refuses %s, as option and in the configuration file',
  async (url) => {
    expect(() => parse('--p2p', url)).toThrow('It must be http://HOST:PORT');
    await expect(parseConfig(`p2p: "${url}"`, 'config.yaml')).rejects.toThrow(
      'config.yaml:1:1: p2p: It must be',
    );
  },
);

it('takes the URL from the configuration file', async () => {
  expect(await parseConfig('p2p: http://127.0.0.1:4001', 'c')).toEqual({ p2p: 'http://127.0.0.1:4001' });
});
