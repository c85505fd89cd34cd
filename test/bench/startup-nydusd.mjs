import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { runToEnd } from './first-line.mjs';
import { peer, peerEnvironment, startNydusd } from './nydusd.mjs';

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
  if (!['nydusd', 'nydusify', 'nydus-image'].every((name) => peer(name))) return undefined;
  // The plain image is there: containerd is always measured.
  const [source, target] = [`${host}/plain:${tag}`, `${host}/nydusify:${tag}`];
  const flags = ['--source-insecure', '--target-insecure', '--work-dir', dir];
  await runToEnd([peer('nydusify'), 'convert', '--source', source, '--target', target, ...flags], {
    env: peerEnvironment(),
  });
  return `nydusify:${tag}`;
}

/** What a snapshotter does: manifest, configuration and bootstrap from the registry, nydusd, an overlay, runc. */
async function start(name, { host, dir, peer: proxy, begin, ready, prefetch }) {
  const [repository, tag] = name.split(':');
  const at = (path) => `http://${host}/v2/${repository}/${path}`;
  const [upper, work, bundle] = ['upper', 'work', 'bundle'].map((part) => join(dir, part));
  const rootfs = join(bundle, 'rootfs');
  for (const path of [upper, work, rootfs]) mkdirSync(path, { recursive: true });
  const undo = [];
  try {
    await begin();
    const { config, layers } = await (await get(at(`manifests/${tag}`))).json();
    const [image, layer] = await Promise.all([
      get(at(`blobs/${config.digest}`)).then((answer) => answer.json()),
      get(at(`blobs/${layers.at(-1).digest}`)).then((answer) => answer.arrayBuffer()),
    ]);
    const bootstrap = join(dir, 'bootstrap.tar.gz');
    writeFileSync(bootstrap, Buffer.from(layer));
    const registry = {
      scheme: 'http',
      host,
      repo: repository,
      timeout: 30,
      connect_timeout: 5,
      retry_limit: 2,
      ...(proxy !== undefined && { proxy: { url: proxy, fallback: false } }),
    };
    const backend = { type: 'registry', config: registry };
    const { mountpoint, stop } = await startNydusd({ dir, bootstrap, backend, prefetch });
    undo.push(stop);
    await runToEnd([
      'mount',
      '-t',
      'overlay',
      '-o',
      `lowerdir=${mountpoint},upperdir=${upper},workdir=${work}`,
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
