import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, request as httpRequest, type Server } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

/** One request as the registry answered it. */
interface LoggedRequest {
  method: string;
  /** With the query. */
  path: string;
  status: number;
  /** Bytes of the answer's body that were sent. */
  bytes: number;
  /** Bytes of the request's body. */
  received: number;
  /** Value of the Range header. */
  range?: string | undefined;
}

/** A running docker-registry behind a proxy that counts. */
export interface TestRegistry {
  /** `127.0.0.1:PORT` of the counting proxy; to be used as the registry's host. */
  host: string;
  /** Everything asked so far, in the order in which the answers ended. Emptying it (`length = 0`) begins a new count. */
  requests: LoggedRequest[];
  /** Sum of `bytes` of all requests so far. */
  bytesSent(): number;
  /** Makes the registry unreachable: open connections are cut, new ones refused. */
  pause(): Promise<void>;
  /** Bytes of request bodies that have arrived of requests without an answer yet. */
  arriving(): number;
  /** Cuts all connections; new ones are taken. */
  cut(): void;
  resume(): Promise<void>;
  /** Ends registry and proxy and removes the storage. */
  stop(): Promise<void>;
}

export interface RegistryServerOptions {
  /** Path of another server: Distribution 3 (`registry3`) or zot, told by its name. Default: docker-registry. */
  program?: string;
  /** `127.0.0.1:PORT` of a registry that this one is a pull-through cache of. */
  cacheOf?: string;
  /** Every request needs this user name and password. */
  htpasswd?: { user: string; password: string };
}

const START_TIMEOUT_MS = 20_000;

/** Starts Debian's docker-registry with an empty storage on a free loopback port. Needs docker-registry, and htpasswd for `htpasswd`. */
export async function startRegistry(options: RegistryServerOptions = {}): Promise<TestRegistry> {
  const directory = mkdtempSync(join(tmpdir(), 'rafter-registry-'));
  const backendPort = await freePort();
  const { program = 'docker-registry' } = options;
  const isZot = basename(program) === 'zot';
  const config = join(directory, isZot ? 'config.json' : 'config.yml');
  writeFileSync(
    config,
    isZot ? zotConfig(directory, backendPort) : registryConfig(directory, backendPort, options),
  );
  const child = spawn(program, ['serve', config], { stdio: ['ignore', 'ignore', 'pipe'] });
  let output = '';
  child.stderr.on('data', (piece: Buffer) => {
    output = (output + piece.toString()).slice(-4000);
  });
  const requests: LoggedRequest[] = [];
  const arriving = new Set<LoggedRequest>();
  const proxy = createProxy(backendPort, requests, arriving);
  const sockets = new Set<Socket>();
  proxy.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  const stopChild = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  try {
    await waitUntilUp(backendPort, child, () => output);
    proxy.listen(0, '127.0.0.1');
    await once(proxy, 'listening');
  } catch (error) {
    await stopChild();
    rmSync(directory, { recursive: true, force: true });
    throw error;
  }
  const { port } = proxy.address() as AddressInfo;
  const close = async () => {
    if (!proxy.listening) return;
    const closed = once(proxy, 'close');
    proxy.close();
    for (const socket of sockets) socket.destroy();
    await closed;
  };
  return {
    host: `127.0.0.1:${port}`,
    requests,
    bytesSent: () => requests.reduce((sum, { bytes }) => sum + bytes, 0),
    pause: close,
    arriving: () => [...arriving].reduce((sum, { received }) => sum + received, 0),
    cut() {
      for (const socket of sockets) socket.destroy();
    },
    async resume() {
      proxy.listen(port, '127.0.0.1');
      await once(proxy, 'listening');
    },
    async stop() {
      await close();
      await stopChild();
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function zotConfig(directory: string, port: number): string {
  return JSON.stringify({
    storage: { rootDirectory: join(directory, 'storage') },
    http: { address: '127.0.0.1', port: String(port) },
    log: { level: 'error', output: '/dev/null' },
  });
}

function registryConfig(
  directory: string,
  port: number,
  { htpasswd, cacheOf }: RegistryServerOptions,
): string {
  const lines = [
    'version: 0.1',
    'log: { level: error, accesslog: { disabled: true } }',
    `storage: { filesystem: { rootdirectory: ${join(directory, 'storage')} }, delete: { enabled: true } }`,
    `http: { addr: 127.0.0.1:${port} }`,
  ];
  if (cacheOf !== undefined) lines.push(`proxy: { remoteurl: "http://${cacheOf}" }`);
  if (htpasswd !== undefined) {
    const file = join(directory, 'htpasswd');
    writeFileSync(file, execFileSync('htpasswd', ['-Bbn', htpasswd.user, htpasswd.password]));
    lines.push(`auth: { htpasswd: { realm: test, path: ${file} } }`);
  }
  return `${lines.join('\n')}\n`;
}

/** Passes everything on unchanged, Host included, so that the registry's Location headers lead back here. */
function createProxy(backendPort: number, requests: LoggedRequest[], arriving: Set<LoggedRequest>): Server {
  return createServer((incoming, outgoing) => {
    const entry: LoggedRequest = {
      method: incoming.method ?? '',
      path: incoming.url ?? '',
      status: 0,
      bytes: 0,
      received: 0,
      range: incoming.headers.range,
    };
    incoming.on('data', (piece: Buffer) => {
      entry.received += piece.length;
    });
    arriving.add(entry);
    outgoing.once('close', () => {
      arriving.delete(entry);
      requests.push(entry);
    });
    const backend = httpRequest(
      {
        host: '127.0.0.1',
        port: backendPort,
        method: incoming.method,
        path: incoming.url,
        headers: incoming.headers,
      },
      (answer) => {
        entry.status = answer.statusCode ?? 0;
        outgoing.writeHead(entry.status, answer.rawHeaders);
        answer.on('data', (piece: Buffer) => {
          entry.bytes += piece.length;
        });
        answer.pipe(outgoing);
        answer.on('error', () => outgoing.destroy());
      },
    );
    backend.on('error', () => outgoing.destroy());
    outgoing.once('close', () => backend.destroy());
    incoming.pipe(backend);
  });
}

async function waitUntilUp(port: number, child: ChildProcess, output: () => string): Promise<void> {
  const failed = once(child, 'error').then(([error]) => {
    throw error;
  });
  failed.catch(() => {});
  for (const end = Date.now() + START_TIMEOUT_MS; Date.now() < end; ) {
    if (child.exitCode !== null) throw new Error(`docker-registry ended: ${output()}`);
    const answered = await Promise.race([answers(port), failed]);
    if (answered) return;
    await sleep(50);
  }
  throw new Error(`docker-registry did not come up: ${output()}`);
}

function answers(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const probe = httpRequest({ host: '127.0.0.1', port, path: '/v2/' }, (answer) => {
      answer.resume();
      resolve(true);
    });
    probe.on('error', () => resolve(false));
    probe.end();
  });
}

async function freePort(): Promise<number> {
  const server = createTcpServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
