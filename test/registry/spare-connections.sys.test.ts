import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { createSpareConnections } from '../../src/registry/spare-connections.js';
import { createConnector } from '../../src/registry/undici.js';

let server: Server;
let url: URL;
let taken: Socket[];

beforeEach(async () => {
  taken = [];
  server = createServer((socket) => {
    socket.on('error', () => {});
    taken.push(socket);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = new URL(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
afterEach(async () => {
  for (const socket of taken) socket.destroy();
  const closed = once(server, 'close');
  server.close();
  await closed;
});

type Spares = ReturnType<typeof createSpareConnections>;
const create = () => createSpareConnections(createConnector({ timeout: 20_000 }));
const connect = (spares: Spares) =>
  new Promise<Socket>((resolve, reject) => {
    const { host, hostname, protocol, port } = url;
    spares.connect({ host, hostname, protocol, port }, (error, socket) =>
      error === null ? resolve(socket) : reject(error),
    );
  });

it('gives those that are open or on their way, then opens more', async () => {
  const spares = create();
  spares.open(url, 2);
  const early = await connect(spares);
  await vi.waitFor(() => expect(taken).toHaveLength(2), 20_000);
  const late = await connect(spares);
  expect(taken).toHaveLength(2);
  const third = await connect(spares);
  await vi.waitFor(() => expect(taken).toHaveLength(3), 20_000);
  const ports = [early, late, third].map(({ localPort }) => localPort);
  expect(new Set(ports).size).toBe(3);
  for (const socket of [early, late, third]) socket.destroy();
});

it('passes over one that has been closed', async () => {
  const spares = create();
  spares.open(url, 1);
  await vi.waitFor(() => expect(taken).toHaveLength(1), 20_000);
  taken[0]!.resetAndDestroy();
  await vi.waitFor(async () => {
    const socket = await connect(spares);
    socket.destroy();
    expect(taken.length).toBeGreaterThan(1);
  }, 20_000);
});

it('one that cannot be opened costs nothing', async () => {
  const { port } = server.address() as AddressInfo;
  const spares = create();
  const elsewhere = createServer().listen(0, '127.0.0.1');
  await once(elsewhere, 'listening');
  const dead = new URL(`http://127.0.0.1:${(elsewhere.address() as AddressInfo).port}`);
  elsewhere.close();
  await once(elsewhere, 'close');
  spares.open(dead, 1);
  expect((await connect(spares)).destroy().remotePort ?? port).toBe(port);
});

it('closes what nobody took', async () => {
  const spares = create();
  spares.open(url, 2);
  await vi.waitFor(() => expect(taken).toHaveLength(2), 20_000);
  const closed = taken.map((socket) => once(socket.resume(), 'close'));
  spares.close();
  await Promise.all(closed);
});
