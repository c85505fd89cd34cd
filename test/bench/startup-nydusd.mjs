import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runToEnd } from './first-line.mjs';

/** How long nydusd may take to mount, in milliseconds. */
const PATIENCE = 20_000;
const MANIFEST = 'application/vnd.oci.image.manifest.v1+json';

/** The image as nydusify converts it, served by nydusd. @type {import('./startup.mjs').Way[]} */
export const nydusd = [
  { name: 'nydusd', prepare, start: (name, where) => start(name, { ...where, prefetch: false }) },
  {
    name: 'nydusd, prefetching all',
    prepare,
    start: (name, where) => start(name, { ...where, prefetch: true }),
  },
];

async function prepare({ tag, host, dir }) {
  const peers = process.env.RAFTER_PEERS;
  if (!peers || !['nydusd', 'nydusify', 'nydus-image'].every((name) => existsSync(join(peers, name))))
    return undefined;
  // The plain image is there: containerd is always measured.
  const [source, target] = [`${host}/plain:${tag}`, `${host}/nydusify:${tag}`];
  const flags = ['--source-insecure', '--target-insecure', '--work-dir', dir];
  await runToEnd([join(peers, 'nydusify'), 'convert', '--source', source, '--target', target, ...flags], {
    env: { ...process.env, PATH: `${peers}:${process.env.PATH}` },
  });
  return `nydusify:${tag}`;
}

/** What a snapshotter does: manifest, configuration and bootstrap from the registry, nydusd, an overlay, runc. */
async function start(name, { host, dir, begin, ready, prefetch }) {
  const [repository, tag] = name.split(':');
  const at = (path) => `http://${host}/v2/${repository}/${path}`;
  const [mnt, upper, work, bundle] = ['mnt', 'upper', 'work', 'bundle'].map((part) => join(dir, part));
  const rootfs = join(bundle, 'rootfs');
  for (const path of [mnt, upper, work, rootfs, join(dir, 'cache')]) mkdirSync(path, { recursive: true });
  const undo = [];
  try {
    await begin();
    const { config, layers } = await (await get(at(`manifests/${tag}`))).json();
    const [image, bootstrap] = await Promise.all([
      get(at(`blobs/${config.digest}`)).then((answer) => answer.json()),
      get(at(`blobs/${layers.at(-1).digest}`)).then((answer) => answer.arrayBuffer()),
    ]);
    writeFileSync(join(dir, 'bootstrap.tar.gz'), Buffer.from(bootstrap));
    await runToEnd(['tar', '-xzf', join(dir, 'bootstrap.tar.gz'), '-C', dir, 'image/image.boot']);
    undo.push(await serve({ dir, host, repository, mnt, prefetch }));
    await runToEnd([
      'mount',
      '-t',
      'overlay',
      '-o',
      `lowerdir=${mnt},upperdir=${upper},workdir=${work}`,
      'overlay',
      rootfs,
    ]);
    undo.push(() => runToEnd(['umount', rootfs]));
    await runToEnd(['runc', 'spec'], { cwd: bundle });
    const file = join(bundle, 'config.json');
    const spec = JSON.parse(readFileSync(file, 'utf8'));
    const { Entrypoint = [], Cmd = [], Env = [], WorkingDir } = image.config;
    Object.assign(spec.process, {
      args: [...Entrypoint, ...Cmd],
      env: Env,
      cwd: WorkingDir || '/',
      terminal: false,
    });
    spec.root.readonly = false;
    spec.linux.namespaces = spec.linux.namespaces.filter(({ type }) => type !== 'network');
    writeFileSync(file, JSON.stringify(spec));
    await runToEnd(['runc', '--root', join(dir, 'runc'), 'run', 'bench'], { cwd: bundle, ready });
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

async function get(url) {
  const answer = await fetch(url, { headers: { accept: MANIFEST } });
  if (!answer.ok) throw new Error(`${url}: status ${answer.status}`);
  return answer;
}

/** Starts nydusd; resolves, when the tree is mounted, to what ends it. */
async function serve({ dir, host, repository, mnt, prefetch }) {
  const registry = {
    scheme: 'http',
    host,
    repo: repository,
    timeout: 30,
    connect_timeout: 5,
    retry_limit: 2,
  };
  const config = {
    device: {
      backend: { type: 'registry', config: registry },
      cache: { type: 'blobcache', config: { work_dir: join(dir, 'cache') } },
    },
    mode: 'direct',
    digest_validate: false,
    enable_xattr: true,
    fs_prefetch: { enable: prefetch, threads_count: 8, prefetch_all: prefetch },
  };
  writeFileSync(join(dir, 'nydusd.json'), JSON.stringify(config));
  const files = ['--bootstrap', 'image/image.boot', '--config', 'nydusd.json', '--mountpoint', mnt];
  const flags = ['--apisock', 'api.sock', '--rlimit-nofile', '0', '--log-level', 'error'];
  const program = join(process.env.RAFTER_PEERS, 'nydusd');
  const child = spawn(program, ['fuse', ...files, ...flags], { cwd: dir, stdio: 'ignore' });
  const ended = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  for (const end = Date.now() + PATIENCE; ; await sleep(5)) {
    if (readFileSync('/proc/self/mountinfo', 'utf8').includes(` ${mnt} `)) return stop;
    if (child.exitCode === null && Date.now() < end) continue;
    await stop();
    throw new Error(`nydusd did not mount ${mnt}`);
  }
}
