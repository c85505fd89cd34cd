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
    onWarning: expect.any(Function),
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

it('ignores signals that nobody handles once the body has taken them over', async () => {
  const command = addCommonOptions(new Command('x'));
  command.parse([], { from: 'user' });
  await withContext(command, async ({ signal, releaseSignals }) => {
    releaseSignals();
    process.emit('SIGTERM', 'SIGTERM');
    process.emit('SIGINT', 'SIGINT');
    expect(signal.aborted).toBe(false);
    expect(process.listenerCount('SIGHUP')).toBeGreaterThan(0);
    return 0;
  });
});

it('does not hand signals over after one has come', async () => {
  const command = addCommonOptions(new Command('x'));
  command.parse([], { from: 'user' });
  const outcome = withContext(command, async ({ releaseSignals }) => {
    process.emit('SIGINT', 'SIGINT');
    releaseSignals();
    return 0;
  });
  await expect(outcome).rejects.toMatchObject({ code: 'INTERRUPTED' });
});

it('repeats a warning of a registry once, however many sides of a command hear it', () => {
  const write = vi.spyOn(process.stderr, 'write').mockReturnValue(true);
  try {
    accessOptions({}).onWarning('registry.example.com: old');
    accessOptions({}).onWarning('registry.example.com: old');
    expect(write.mock.calls.map(([text]) => text)).toEqual(['warning: registry.example.com: old\n']);
  } finally {
    write.mockRestore();
  }
});
