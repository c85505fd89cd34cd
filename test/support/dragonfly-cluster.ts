import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const START_TIMEOUT_MS = 30_000;
const HOST = '127.0.0.1';

/** Dragonfly itself, without a manager: a scheduler, a seed peer and a peer. */
export interface DragonflyCluster {
  /** Proxy of the peer. */
  url: string;
  /** Ends one of its programs at once. */
  kill(name: 'scheduler' | 'seed' | 'peer'): Promise<void>;
  /** Ends all and removes what they kept. */
  stop(): Promise<void>;
}

/** Starts a cluster on free loopback ports. `registry` (a URL) is what it takes for the registry of requests that name none. */
export async function startDragonfly(
  programs: { scheduler: string; dfdaemon: string },
  registry: string,
): Promise<DragonflyCluster> {
  const dir = mkdtempSync(join(tmpdir(), 'rafter-dragonfly-'));
  const children = new Map<string, ChildProcess>();
  const write = (name: string, content: unknown) => {
    const path = join(dir, name);
    writeFileSync(path, JSON.stringify(content));
    return path;
  };
  const start = (name: string, program: string, args: string[]) => {
    const child = spawn(program, args, { stdio: 'ignore' });
    child.once('error', () => {});
    children.set(name, child);
  };
  const kill = async (name: string) => {
    const child = children.get(name);
    children.delete(name);
    if (child?.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, 'exit');
    child.kill('SIGKILL');
    await ended;
  };
  const stop = async () => {
    for (const name of [...children.keys()]) await kill(name);
    rmSync(dir, { recursive: true, force: true, maxRetries: 3 });
  };
  const up = async (name: string, port: number) => {
    for (const end = Date.now() + START_TIMEOUT_MS; !(await listens(port)); await sleep(50)) {
      const child = children.get(name);
      if (child?.exitCode === null && Date.now() < end) continue;
      throw new Error(`Dragonfly's ${name} did not come up`);
    }
  };

  /** A dfdaemon; its proxy's port. */
  async function startClient(name: string, { program, schedulers, isSeed }: ClientOptions): Promise<number> {
    const [proxy, ...others] = await freePorts(7);
    mkdirSync(join(dir, name));
    const config = write(
      `${name}.yaml`,
      clientConfig({ dir, name, registry, isSeed, ports: [proxy!, ...others] }),
    );
    const log = join(dir, name, 'log');
    start(name, program, ['--config', config, '--dynconfig', schedulers, '--log-dir', log]);
    await up(name, proxy!);
    return proxy!;
  }

  try {
    const [port] = await freePorts(1);
    const own = join(dir, 'scheduler');
    mkdirSync(own);
    const dirs = { logDir: own, dataDir: own, pluginDir: own, cacheDir: own };
    const config = write('scheduler.yaml', {
      server: { advertiseIP: HOST, listenIP: HOST, port, ...dirs },
      scheduler: {
        algorithm: 'default',
        backToSourceCount: 200,
        retryBackToSourceLimit: 3,
        retryInterval: '1s',
      },
      dynConfig: { refreshInterval: '1m' },
      job: { enable: false },
      metrics: { enable: false },
      console: true,
      pprofPort: -1,
    });
    // It looks for this one beside its own.
    write('scheduler-dynconfig.yaml', {
      applications: [],
      seedPeerClusterConfig: { loadLimit: 2000 },
      schedulerClusterConfig: { candidateParentLimit: 3, filterParentLimit: 15 },
      schedulerClusterClientConfig: { loadLimit: 200 },
    });
    const dynamic = join(dir, 'scheduler-dynconfig.yaml');
    start('scheduler', programs.scheduler, ['--config', config, '--dynconfig', dynamic]);
    await up('scheduler', port!);
    const schedulers = write('client-dynconfig.yaml', { scheduler: { addrs: [`${HOST}:${port}`] } });
    await startClient('seed', { program: programs.dfdaemon, schedulers, isSeed: true });
    const proxy = await startClient('peer', { program: programs.dfdaemon, schedulers, isSeed: false });
    return { url: `http://${HOST}:${proxy}`, kill, stop };
  } catch (error) {
    const said = ['seed', 'peer'].map((name) => tail(join(dir, name, 'log')));
    await stop();
    throw new Error(`no Dragonfly cluster: ${said.join('')}`, { cause: error });
  }
}

interface ClientOptions {
  program: string;
  /** Path of the file that names the scheduler. */
  schedulers: string;
  isSeed: boolean;
}

function clientConfig(options: {
  dir: string;
  name: string;
  registry: string;
  isSeed: boolean;
  ports: number[];
}): unknown {
  const { dir, name, registry, isSeed, ports } = options;
  const [proxy, upload, metrics, health, stats, tcp, quic] = ports;
  const own = join(dir, name);
  const server = (port: number | undefined) => ({ server: { ip: HOST, port } });
  return {
    log: { level: 'info' },
    host: { idc: '', location: '', ip: HOST, hostname: name },
    server: { pluginDir: join(own, 'plugins'), cacheDir: join(own, 'cache') },
    download: { protocol: 'tcp', server: { socketPath: `${own}.sock` }, pieceTimeout: '40s' },
    upload: { ...server(upload), disableShared: false },
    scheduler: {
      announceInterval: '1s',
      scheduleTimeout: '30s',
      maxScheduleCount: 5,
      enableBackToSource: true,
    },
    ...(isSeed && { seedPeer: { enable: true, type: 'super' } }),
    dynconfig: { refreshInterval: '1m' },
    storage: { server: { ip: HOST, tcpPort: tcp, quicPort: quic }, dir: join(own, 'data'), keep: false },
    gc: { interval: '900s', policy: { taskTTL: '21600s' } },
    proxy: {
      ...server(proxy),
      rules: [{ regex: 'blobs/sha256.*' }],
      registryMirror: { addr: registry },
      disableBackToSource: false,
      prefetch: false,
    },
    health: server(health),
    metrics: server(metrics),
    stats: server(stats),
  };
}

function tail(path: string): string {
  try {
    return readFileSync(path, 'utf8').slice(-1000);
  } catch {
    return '';
  }
}

async function listens(port: number): Promise<boolean> {
  const socket = connect(port, HOST);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** Ports that nobody listens at; all are held until the last one is known, so that they differ. */
async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, HOST));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}
