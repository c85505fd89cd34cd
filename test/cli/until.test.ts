import { createServer } from 'node:net';
import { expect, it } from 'vitest';
import { watchStart } from '../../src/cli/start-watch.js';
import { parseUntil } from '../../src/cli/until.js';

it('reads a port, a time or a text', () => {
  expect(parseUntil('port:8080')).toEqual({ port: 8080 });
  expect(parseUntil('1.5s')).toEqual({ ms: 1500 });
  expect(parseUntil('86400s')).toEqual({ ms: 86_400_000 });
  expect(parseUntil('ready on port 80')).toEqual({ text: 'ready on port 80' });
});

it.each(['', 'port:0', 'port:65536', '86401s'])('refuses %j', (text) => {
  expect(() => parseUntil(text)).toThrow();
});

it('finds a text in a line that comes in parts, and not over the end of one', () => {
  const watch = watchStart({ text: 'now ready' });
  const say = (text: string) => watch.onOutput!(Buffer.from(text));
  say('now\nready\nno');
  expect(watch.signal.aborted).toBe(false);
  say('w re');
  say('ady');
  expect(watch.signal.aborted).toBe(true);
});

const aborted = ({ signal }: { signal: AbortSignal }) =>
  new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));

it('waits until somebody listens on a port', async () => {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as { port: number };
  const watch = watchStart({ port });
  await aborted(watch);
  server.close();
});

it('waits for a time, and no longer when it was stopped', async () => {
  const stopped = watchStart({ ms: 1 });
  stopped.stop();
  await aborted(watchStart({ ms: 20 }));
  expect(stopped.signal.aborted).toBe(false);
});
