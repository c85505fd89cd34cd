import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const START_TIMEOUT_MS = 30_000;
const HOST = '127.0.0.1';

/**
 * Starts Dragonfly itself, without a manager, on free loopback ports: a scheduler, a seed peer and peers.
 * @param {{ scheduler: string, dfdaemon: string }} programs their paths
 * @param {string} registry URL of what it takes for the registry of requests that name none
 * @param {{ peers?: number, ca?: string }} [options] how many peers besides the seed peer; file of the authority that they are told to trust
 *   the registry by
 * @returns {Promise<{ urls: string[], seed: string, metrics: Record<string, string>, pids: Record<string, number>,
 *   kill(name: string): Promise<void>, stop(): Promise<void> }>} the proxies of the peers and of the seed peer; where each client has its
 *   metrics; `kill` ends `scheduler`, `seed`, `peer`, `peer-1` and so on at once; `stop` ends all and removes what they kept
 */
export async function startDragonfly(programs, registry, { peers = 1, ca } = {}) {
  const dir = mkdtempSync(join(tmpdir(), 'rafter-dragonfly-'));
  const children = new Map();
  const metrics = {};
  const write = (name, content) => {
    const path = join(dir, name);
    writeFileSync(path, JSON.stringify(content));
    return path;
  };
  const start = (name, program, args) => {
    const child = spawn(program, args, { stdio: 'ignore' });
    child.once('error', () => {});
    children.set(name, child);
  };
  const kill = async (name) => {
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
  const up = async (name, port) => {
    for (const end = Date.now() + START_TIMEOUT_MS; !(await listens(port)); await sleep(50)) {
      const child = children.get(name);
      if (child?.exitCode === null && Date.now() < end) continue;
      throw new Error(`Dragonfly's ${name} did not come up`);
    }
  };

  /** A dfdaemon; the URL of its proxy. */
  async function startClient(name, { schedulers, isSeed }) {
    const ports = await freePorts(7);
    mkdirSync(join(dir, name));
    const config = write(`${name}.yaml`, clientConfig({ dir, name, registry, ca, isSeed, ports }));
    const log = join(dir, name, 'log');
    start(name, programs.dfdaemon, ['--config', config, '--dynconfig', schedulers, '--log-dir', log]);
    const [proxy, , measured] = ports;
    metrics[name] = `http://${HOST}:${measured}/metrics`;
    await up(name, proxy);
    return `http://${HOST}:${proxy}`;
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
    const dynamic = write('scheduler-dynconfig.yaml', {
      applications: [],
      seedPeerClusterConfig: { loadLimit: 2000 },
      schedulerClusterConfig: { candidateParentLimit: 3, filterParentLimit: 15 },
      schedulerClusterClientConfig: { loadLimit: 200 },
    });
    start('scheduler', programs.scheduler, ['--config', config, '--dynconfig', dynamic]);
    await up('scheduler', port);
    const schedulers = write('client-dynconfig.yaml', { scheduler: { addrs: [`${HOST}:${port}`] } });
    const seed = await startClient('seed', { schedulers, isSeed: true });
    const urls = [];
    for (let index = 0; index < peers; index++)
      urls.push(await startClient(index === 0 ? 'peer' : `peer-${index}`, { schedulers, isSeed: false }));
    const pids = Object.fromEntries([...children].map(([name, child]) => [name, child.pid]));
    return { urls, seed, metrics, pids, kill, stop };
  } catch (error) {
    const said = ['seed', 'peer'].map((name) => tail(join(dir, name, 'log')));
    await stop();
    throw new Error(`no Dragonfly cluster: ${said.join('')}`, { cause: error });
  }
}

function clientConfig({ dir, name, registry, ca, isSeed, ports }) {
  const [proxy, upload, measured, health, stats, tcp, quic] = ports;
  const own = join(dir, name);
  const server = (port) => ({ server: { ip: HOST, port } });
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
      registryMirror: { addr: registry, ...(ca && { cert: ca }) },
      disableBackToSource: false,
      prefetch: false,
    },
    health: server(health),
    metrics: server(measured),
    stats: server(stats),
  };
}

function tail(path) {
  try {
    return readFileSync(path, 'utf8').slice(-1000);
  } catch {
    return '';
  }
}

async function listens(port) {
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
async function freePorts(count) {
  const servers = Array.from({ length: count }, () => createServer().listen(0, HOST));
  await Promise.all(servers.map((server) => once(server, 'listening')));
  const ports = servers.map((server) => server.address().port);
  await Promise.all(servers.map((server) => once(server.close(), 'close')));
  return ports;
}
