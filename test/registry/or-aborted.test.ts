import { Readable } from 'node:stream';
import { afterEach, expect, it, vi } from 'vitest';
import { plainEndpoint } from '../../src/registry/hosts/endpoint.js';
import { orAborted } from '../../src/registry/or-aborted.js';
import { createServers } from '../../src/registry/servers.js';
import type { HttpResponse, Transport } from '../../src/registry/transport.js';

const unhandled = vi.fn();
afterEach(() => void process.off('unhandledRejection', unhandled));

it('leaves the failure of abandoned work to nobody, and not to the process', async () => {
  process.on('unhandledRejection', unhandled);
  const work = Promise.reject(new Error('the token server is gone'));
  await expect(orAborted(work, 'logging in', AbortSignal.abort())).rejects.toMatchObject({
    code: 'INTERRUPTED',
    message: 'logging in was interrupted',
  });
  await new Promise((resolve) => setImmediate(resolve));
  expect(unhandled).not.toHaveBeenCalled();
});

it('gives what the work gives, unless it is aborted before', async () => {
  const controller = new AbortController();
  expect(await orAborted(Promise.resolve(1), 'it', controller.signal)).toBe(1);
  await expect(orAborted(Promise.reject(new Error('no')), 'it', controller.signal)).rejects.toThrow('no');
  const waiting = orAborted(new Promise(() => {}), 'it', controller.signal);
  controller.abort();
  await expect(waiting).rejects.toMatchObject({ code: 'INTERRUPTED' });
});

it('lets many wait for one signal, without a warning of them', async () => {
  const warned = vi.fn();
  process.on('warning', warned);
  try {
    const controller = new AbortController();
    const waiting = Array.from({ length: 50 }, () =>
      orAborted(new Promise(() => {}), 'it', controller.signal),
    );
    controller.abort();
    await Promise.allSettled(waiting);
    // Warnings come with the next tick.
    await new Promise((resolve) => setImmediate(resolve));
    expect(warned).not.toHaveBeenCalled();
  } finally {
    process.off('warning', warned);
  }
});

it('lets others go on when the one leaves who asked a server first', async () => {
  let answer = (_: HttpResponse) => {};
  const first = new Promise<HttpResponse>((resolve) => {
    answer = resolve;
  });
  const ok = (url: URL): HttpResponse => ({ status: 200, headers: {}, url, body: Readable.from([]) });
  let count = 0;
  const transport: Transport = {
    send: async ({ url, signal }) => {
      if (count++ > 0) return ok(url);
      return signal ? orAborted(first, 'the first request', signal) : first;
    },
    openSpares: async () => {},
    close: async () => {},
  };
  const api = new URL('https://reg.example.com/v2');
  const servers = createServers({
    endpoints: [{ ...plainEndpoint(api, 'app'), mayBePlain: true }],
    transport,
    options: { dockerConfig: '/nonexistent', env: { HOME: '/nonexistent' } },
    refusal: async () => {
      throw new Error('refused');
    },
  });
  const leaving = new AbortController();
  const request = { method: 'GET', path: 'blobs/sha256:0', access: 'pull' } as const;
  const left = servers.ask({ ...request, signal: leaving.signal }, [200]);
  const stays = servers.ask(request, [200]);
  leaving.abort();
  await expect(left).rejects.toMatchObject({ code: 'INTERRUPTED' });
  answer(ok(api));
  expect((await stays).response.status).toBe(200);
});
