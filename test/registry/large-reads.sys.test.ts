import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { takeAll } from '../../src/image/relay.js';
import { giveBack, ROOM_SIZE } from '../../src/os/piece-memory.js';
import { createLargeReads } from '../../src/registry/large-reads.js';
import { ConnectionPool, sendThrough } from '../../src/registry/undici.js';
import { fuzzSeeds } from '../support/fuzz.js';
import { type Random, random } from '../support/mutate.js';

vi.setConfig({ testTimeout: 60_000 });

const BLOB = randomBytes(9 << 20);

let server: Server;
let answer: (response: ServerResponse, url: URL) => unknown;
let pool: ConnectionPool;
let origin: string;

beforeEach(async () => {
  server = createServer((request, response) => {
    response.on('error', () => {}).setMaxListeners(0);
    void answer(response, new URL(request.url!, origin));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  pool = new ConnectionPool(origin, { connections: 3, connect: createLargeReads(20_000) });
});
afterEach(async () => {
  await pool.destroy();
  server.closeAllConnections();
  const closed = once(server, 'close');
  server.close();
  await closed;
});

const get = (path = '/', signal?: AbortSignal) =>
  sendThrough(pool, new URL(path, origin), { method: 'GET', signal: signal ?? null });
const sha = (bytes: Buffer) => createHash('sha256').update(bytes).digest('hex');

/** Sends BLOB's bytes from `from` to `to`, framed as `?frame=` says, in writes of any size. */
async function sendPart(response: ServerResponse, { searchParams: query }: URL, next: Random) {
  const [from, to] = [Number(query.get('from')), Number(query.get('to'))];
  if (query.get('frame') === 'length') response.setHeader('content-length', to - from);
  if (query.get('frame') === 'close') response.setHeader('connection', 'close');
  for (let at = from; at < to; ) {
    const end = Math.min(to, at + 1 + next(next(3) === 0 ? 3000 : 2 << 20));
    if (!response.write(BLOB.subarray(at, end))) {
      await Promise.race([once(response, 'drain'), once(response, 'close')]);
    } else if (next(4) === 0) await setImmediate();
    at = end;
  }
  response.end();
}

/** Reads a body to its end, some of it with delays, and gives every piece back as soon as it was looked at. */
async function hashOf(body: Readable, next: Random): Promise<string> {
  const hash = createHash('sha256');
  await takeAll(body, (piece) => {
    if (next(5) > 0) {
      hash.update(piece);
      giveBack(piece);
      return undefined;
    }
    return setImmediate().then(() => {
      hash.update(piece);
      giveBack(piece);
    });
  });
  return hash.digest('hex');
}

it('gives the bytes that were sent, however they come, on three connections at a time', async () => {
  for (const seed of fuzzSeeds(4)) {
    const next = random(seed);
    answer = (response, url) => sendPart(response, url, next);
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        const from = next(BLOB.length);
        const to = from + next(BLOB.length - from + 1);
        const frame = ['length', 'chunked', 'close'][next(3)];
        const { statusCode, body } = await get(`/?from=${from}&to=${to}&frame=${frame}`);
        expect(statusCode).toBe(200);
        const wanted = sha(BLOB.subarray(from, to));
        expect({ seed, from, to, frame, sha: await hashOf(body, next) }).toMatchObject({ sha: wanted });
      }),
    );
  }
});

it('reads more at once than Node.js does where as much is there', async () => {
  answer = (response) => response.end(BLOB);
  const { body } = await get();
  let largest = 0;
  await takeAll(body, (piece) => {
    largest = Math.max(largest, piece.length);
    giveBack(piece);
    // Meanwhile more comes.
    return setImmediate();
  });
  expect(largest).toBeGreaterThan(128 << 10);
  expect(largest).toBeLessThanOrEqual(2 * ROOM_SIZE);
});

it('does not read on while nobody takes what it has', async () => {
  const huge = 256 << 20;
  let sent = 0;
  const zeros = Buffer.alloc(1 << 20);
  answer = async (response) => {
    response.setHeader('content-length', huge);
    for (; sent < huge && !response.destroyed; sent += zeros.length)
      if (!response.write(zeros)) await Promise.race([once(response, 'drain'), once(response, 'close')]);
  };
  const { body } = await get();
  let settled = -1;
  // What the kernel holds is sent; then nothing moves, for as many turns as it would take to send the rest.
  await vi.waitFor(
    async () => {
      for (let i = 0; i < 300; i++) await setImmediate();
      const before = settled;
      settled = sent;
      expect(sent).toBe(before);
    },
    { timeout: 20_000, interval: 50 },
  );
  expect(settled).toBeLessThan(huge);
  let seen = 0;
  await takeAll(body, (piece) => {
    seen += piece.length;
    giveBack(piece);
    return undefined;
  }).catch(() => {});
  // It goes on when somebody does.
  expect(seen).toBeGreaterThan(settled / 2);
  body.destroy();
});

it('says when a body is cut, and keeps nothing of it from the next', async () => {
  answer = async (response) => {
    response.setHeader('content-length', BLOB.length);
    response.write(BLOB.subarray(0, 5 << 20), () => (response.socket as Socket).destroy());
  };
  const { body } = await get();
  await expect(takeAll(body, () => undefined)).rejects.toThrow();
  answer = (response) => response.end(BLOB);
  const again = await get();
  expect(await hashOf(again.body, random(1))).toBe(sha(BLOB));
});

it('ends at once when it is interrupted', async () => {
  answer = (response) => {
    response.setHeader('content-length', BLOB.length);
    response.write(BLOB.subarray(0, 1 << 20));
  };
  const stop = new AbortController();
  const { body } = await get('/', stop.signal);
  const reading = takeAll(body, () => {
    stop.abort(new Error('enough'));
    return undefined;
  });
  await expect(reading).rejects.toThrow('enough');
});

it('reports that nobody listens', async () => {
  const gone = new ConnectionPool('http://127.0.0.1:1', { connect: createLargeReads(20_000) });
  await expect(sendThrough(gone, new URL('http://127.0.0.1:1/'), { method: 'GET' })).rejects.toMatchObject({
    code: 'ECONNREFUSED',
  });
  await gone.destroy();
});
