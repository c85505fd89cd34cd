import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { runToEnd } from './first-line.mjs';
import { rafter } from './images.mjs';

/** How long containerd may take to come up, in milliseconds. */
const PATIENCE = 20_000;

/** The image as it is, pulled, unpacked and run by a containerd of its own. @type {import('./startup.mjs').Way} */
export const containerd = {
  name: 'containerd: pull, unpack, run',

  async prepare({ layout, tag, host }) {
    await runToEnd([
      rafter,
      'copy',
      '--quiet',
      '--plain-http',
      `oci:${layout}:${tag}`,
      `${host}/plain:${tag}`,
    ]);
    return `plain:${tag}`;
  },

  async start(name, { host, dir, begin, ready }) {
    const daemon = await startContainerd(dir);
    try {
      const ctr = (...args) => ['ctr', '--address', daemon.socket, ...args];
      const image = `${host}/${name}`;
      await begin();
      await runToEnd(ctr('images', 'pull', '--plain-http', image));
      await runToEnd(ctr('run', '--rm', '--net-host', image, 'bench'), { ready });
    } finally {
      await daemon.stop();
    }
  },
};

/** A containerd whose files are all below `dir`. */
async function startContainerd(dir) {
  const socket = join(dir, 'containerd.sock');
  const config = join(dir, 'config.toml');
  writeFileSync(
    config,
    `version = 2
root = "${join(dir, 'root')}"
state = "${join(dir, 'state')}"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.internal.v1.opt"]
[grpc]
  address = "${socket}"
`,
  );
  const child = spawn('containerd', ['--config', config, '--log-level', 'error'], { stdio: 'ignore' });
  const ended = once(child, 'exit');
  const stop = async () => {
    child.kill('SIGTERM');
    await ended;
  };
  for (const end = Date.now() + PATIENCE; ; await sleep(50)) {
    try {
      await runToEnd(['ctr', '--address', socket, 'version']);
      return { socket, stop };
    } catch (error) {
      if (child.exitCode === null && Date.now() < end) continue;
      await stop();
      throw error;
    }
  }
}
