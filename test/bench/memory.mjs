import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { daemonCommand } from '../../dist/cli/daemon-place.js';
import { daemonStatus, mountImage, shutdownDaemon } from '../../dist/mount/client/client.js';
import { withCommand } from './command-image.mjs';
import { readCommandLine } from './command-line.mjs';
import { compare, printComparison } from './comparison.mjs';
import { builtImage, rafter, splitImage } from './images.mjs';
import { memoryOf } from './mount-jobs.mjs';
import { withWorkspace } from './workspace.mjs';

const USAGE = `usage: npm run bench:memory -- [OPTIONS] [LAYOUT:TAG]

Mounts many images in one daemon, each with a manifest, a configuration and a tree of its own and all of the same blobs, and measures the resident
memory of daemon and supervisor at rest: all of it, and what belongs to no file. Needs root. The image is converted first; without
LAYOUT:TAG, it is the one that quickstart builds.

  --mounts <n,n,...>  how many mounts to measure at (default 1,100,500)
  --driver <name>     erofs or fuse (default erofs)
  --rest <ms>         wait until nothing has been given back for so long (default 70000: daemons keep what they opened last for a minute)
  --json              a line of JSON`;

const LOOK_MS = 500;

const { options, named } = readCommandLine(USAGE, {
  mounts: '1,100,500',
  driver: 'erofs',
  rest: '70000',
  json: false,
});
await bench();

function bench() {
  return withWorkspace(async (dir, later) => {
    const counts = options.mounts.split(',').map(Number);
    const image = splitImage(named[0] ?? builtImage());
    const layout = join(dir, 'nydus');
    const [source, target] = [`oci:${image.layout}:${image.tag}`, `oci:${layout}:image`];
    execFileSync(rafter, ['convert', '--quiet', '--no-cache', source, target]);
    const [runDir, dataRoot] = [join(dir, 'run'), join(dir, 'data')];
    const place = { runDir, dataRoot, command: daemonCommand({ runDir, dataRoot, idle: 0 }) };
    later(() => shutdownDaemon({ runDir }));
    const rows = [];
    for (let made = 0; ; made++) {
      if (made === counts[0]) {
        const { pid, supervisorPid } = await daemonStatus(place);
        const name = `${counts.shift()} mounts`;
        rows.push({ name: `${name}: daemon`, ours: true, figures: await memoryAtRest(pid) });
        rows.push({ name: `${name}: supervisor`, ours: true, figures: memoryOf(supervisorPid) });
        if (counts.length === 0) break;
      }
      const [own, mountpoint] = [join(dir, 'images', String(made)), join(dir, 'mounts', String(made))];
      mkdirSync(mountpoint, { recursive: true });
      withCommand({ layout, tag: 'image' }, ['number', String(made)], own);
      await mountImage(place, { reference: `oci:${own}:image`, mountpoint, driver: options.driver });
    }
    printComparison(compare({ title: `memory at rest, different images, ${options.driver}`, rows }), options);
  });
}

/** Of a daemon: what is resident once it has given back what it does not need. */
async function memoryAtRest(pid) {
  const rest = Number(options.rest);
  let least = memoryOf(pid);
  for (let end = Date.now() + rest; Date.now() < end; await sleep(LOOK_MS)) {
    const now = memoryOf(pid);
    if (now.resident >= least.resident) continue;
    least = now;
    end = Date.now() + rest;
  }
  return least;
}
