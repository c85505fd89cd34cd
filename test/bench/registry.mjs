import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const START_TIMEOUT_MS = 20_000;

/**
 * Starts Debian's docker-registry on a free port of the loopback, with its storage below `dir`.
 * @param {string} dir
 * @returns {Promise<{ host: string, stop(): Promise<void> }>}
 */
export async function startRegistry(dir) {
  const port = await freePort();
  const host = `127.0.0.1:${port}`;
  const config = join(dir, 'registry.yml');
  writeFileSync(
    config,
    `version: 0.1
log: { level: error, accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: ${join(dir, 'registry')} } }
http: { addr: ${host} }
`,
  );
  const child = spawn('docker-registry', ['serve', config], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  for (const end = Date.now() + START_TIMEOUT_MS; ; await sleep(50)) {
    if (child.exitCode !== null || Date.now() > end) throw new Error('docker-registry did not come up');
    const answer = await fetch(`http://${host}/v2/`).catch(() => undefined);
    if (answer?.ok) break;
  }
  return {
    host,
    async stop() {
      child.kill('SIGKILL');
      await ended;
      rmSync(join(dir, 'registry'), { recursive: true, force: true });
    },
  };
}

/**
 * Bytes of the config and the layers of the image that `reference` (HOST/NAME:TAG) names.
 * @param {string} reference
 */
export async function imageSize(reference) {
  const [, host, name, tag] = /^([^/]+)\/(.+):(.+)$/.exec(reference);
  const types = [
    'application/vnd.oci.image.manifest.v1+json',
    'application/vnd.docker.distribution.manifest.v2+json',
  ];
  const answer = await fetch(`http://${host}/v2/${name}/manifests/${tag}`, {
    headers: { accept: types.join(', ') },
  });
  if (!answer.ok) throw new Error(`${reference}: status ${answer.status}`);
  const { config, layers } = await answer.json();
  return layers.reduce((sum, { size }) => sum + size, config.size);
}

async function freePort() {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address();
  server.close();
  await once(server, 'close');
  return port;
}
