import { Command } from 'commander';
import { afterEach, expect, it, vi } from 'vitest';
import { accessOptions, addCommonOptions, parseCredentials, withContext } from '../../src/cli/context.js';

afterEach(() => vi.unstubAllEnvs());

it('takes colons in a password', () => {
  expect(parseCredentials('me:a:b:c')).toEqual({ username: 'me', password: 'a:b:c' });
});

it.each(['', 'me', ':secret'])('refuses credentials %j without repeating them', (text) => {
  expect(() => parseCredentials(text)).toThrow(expect.objectContaining({ code: 'USAGE' }));
  if (text)
    expect(() => parseCredentials(text)).not.toThrow(
      expect.objectContaining({ message: expect.stringContaining('secret') }),
    );
});

it('makes file names absolute, because the daemon has another working directory', () => {
  vi.stubEnv('DOCKER_CONFIG', 'conf');
  const access = accessOptions({ ca: 'ca.pem', plainHttp: true });
  expect(access).toEqual({
    plainHttp: true,
    caFile: `${process.cwd()}/ca.pem`,
    dockerConfig: `${process.cwd()}/conf/config.json`,
  });
});

it('aborts the signal of a command on SIGTERM and takes its handlers away afterwards', async () => {
  const command = addCommonOptions(new Command('x'));
  command.parse([], { from: 'user' });
  const before = process.listenerCount('SIGTERM');
  const outcome = await withContext(command, async ({ signal }) => {
    process.emit('SIGTERM', 'SIGTERM');
    expect(signal.reason).toMatchObject({ code: 'INTERRUPTED' });
    return 7;
  });
  expect(outcome).toBe(7);
  expect(process.listenerCount('SIGTERM')).toBe(before);
});
