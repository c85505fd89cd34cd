import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { resolve } from 'node:path';
import { expect, it } from 'vitest';

const { requestsOf, startRecorder } = await import(resolve(import.meta.dirname, 'scale-record.mjs'));

it('has each request wait for the one that ended last before it', () => {
  const seen = [
    { size: 1, begin: 10.5, end: 11 },
    { size: 2, begin: 11.1, end: 13 },
    { size: 3, begin: 11.2, end: 12 },
    { size: 4, begin: 12.5, end: 12.6 },
  ];
  const { requests, readyAfter, readyGap } = requestsOf(seen, 10, 14);
  expect(requests.map(({ after }: { after: number }) => after)).toEqual([-1, 0, 0, 2]);
  expect(requests.map(({ gap }: { gap: number }) => Number(gap.toFixed(3)))).toEqual([0.5, 0.1, 0.2, 0.5]);
  expect([readyAfter, readyGap]).toEqual([1, 1]);
});

it('relays to the registry and notes what was asked for, also in the form for peers', async () => {
  const digest = `sha256:${'a'.repeat(64)}`;
  const server = createServer(({ url, headers }, response) => {
    if (url === '/v2/missing/manifests/1') return void response.writeHead(404).end();
    expect(headers['x-dragonfly-registry']).toBeUndefined();
    if (headers.range === undefined) return void response.end('0123456789');
    response.writeHead(206, { 'content-range': 'bytes 2-4/10' }).end('234');
  });
  await new Promise<void>((done) => {
    server.listen(0, '127.0.0.1', done);
  });
  const recorder = await startRecorder(`127.0.0.1:${(server.address() as AddressInfo).port}`);
  try {
    const get = async (path: string, headers: Record<string, string> = {}) =>
      (await fetch(`http://${recorder.host}${path}`, { headers })).text();
    const blob = `/v2/a/blobs/${digest}`;
    const [mirror, range] = [{ 'x-dragonfly-registry': 'http://registry' }, { range: 'bytes=2-4' }];
    expect(await get('/v2/a/manifests/1')).toBe('0123456789');
    expect(await get(blob, mirror)).toBe('0123456789');
    expect(await get(blob, { ...mirror, ...range })).toBe('234');
    await get('/v2/missing/manifests/1');
    await get('/v2/');
    const seen = recorder.take();
    expect(seen).toMatchObject([
      { isForPeer: false, isWhole: true },
      { blob: digest, isForPeer: true, isWhole: true },
      { blob: digest, isForPeer: true, isWhole: false, size: 10, offset: 2, length: 3 },
    ]);
    expect(recorder.take()).toEqual([]);
  } finally {
    await recorder.stop();
    server.close();
    server.closeAllConnections();
  }
});
