import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';

/**
 * Starts `wire.mjs` in front of a server on the loopback.
 * @param {string} host HOST:PORT of the server
 * @param {{ rtt: number, mbit: number }} wire milliseconds of a round trip, and megabits per second (0: no limit)
 * @returns {Promise<{ host: string, take(): Promise<{ connections: number, up: number, down: number }>, stop(): Promise<void> }>}
 *   `host` stands for the server at the other end; `take` tells what went over it since it was asked last, in bytes
 */
export async function startWire(host, { rtt, mbit }) {
  const script = join(import.meta.dirname, 'wire.mjs');
  const port = /\d+$/.exec(host)[0];
  const child = spawn(process.execPath, [script, port, String(rtt), String(mbit)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const { value: own } = await lines.next();
  return {
    host: `127.0.0.1:${own}`,
    async take() {
      child.kill('SIGUSR1');
      return JSON.parse((await lines.next()).value);
    },
    async stop() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
