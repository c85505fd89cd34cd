import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { readCommandLine } from './command-line.mjs';
import { compare, printComparison } from './comparison.mjs';
import { builtImage, rafter, splitImage } from './images.mjs';
import { measure } from './measure.mjs';
import { startRegistry } from './registry.mjs';
import { withWorkspace } from './workspace.mjs';

const USAGE = `usage: npm run bench:warm-run -- [OPTIONS] [LAYOUT:TAG]

Runs a container of an image that is on this machine, with a daemon that runs, next to runc alone with the bundle that rafter made for
it, on a mount that is there already, and next to Node.js that does nothing. Programs take turns; of each, the least counts. Needs
root, runc and docker-registry. The image is converted first; without LAYOUT:TAG, it is the one that quickstart builds.

  --runs <n>        how often each (default 20)
  --program <path>  what the container runs, which ends at once (default /bin/true)
  --json            a line of JSON`;

const { options, named } = readCommandLine(USAGE, { runs: '20', program: '/bin/true', json: false });
await bench();

function bench() {
  return withWorkspace(async (dir, later) => {
    const { layout, tag } = splitImage(named[0] ?? builtImage());
    const registry = await startRegistry(dir);
    later(() => registry.stop());
    const image = `${registry.host}/bench:image`;
    execFileSync(rafter, ['convert', '--quiet', '--no-cache', `oci:${layout}:${tag}`, image]);
    const places = ['--run-dir', join(dir, 'run'), '--data-root', join(dir, 'data')];
    later(() => execFileSync(rafter, ['daemon', 'stop', '--quiet', ...places]));
    const run = [rafter, 'run', ...places, '--entrypoint', options.program, image];
    const bundle = copyBundle(dir, run);
    const tree = join(dir, 'tree');
    mkdirSync(tree);
    execFileSync(rafter, ['mount', '--quiet', ...places, image, tree]);
    mountOverlay(bundle, tree, later);
    const ways = {
      'runc alone': ['runc', '--root', join(dir, 'runc'), 'run', '--bundle', bundle, 'rafter-bench'],
      'rafter run': run,
      'Node.js alone': [process.execPath, '-e', '0'],
    };
    const rows = await takeTurns(ways, Number(options.runs));
    const title = 'a container of an image that is here, daemon running';
    printComparison(compare({ title, reference: 'runc alone', rows }), options);
  });
}

/** Runs `command` once with a runc that keeps a copy of the bundle. Returns its directory. */
function copyBundle(dir, command) {
  const [bundle, programs] = [join(dir, 'bundle'), join(dir, 'programs')];
  for (const each of [programs, ...['rootfs', 'upper', 'work'].map((name) => join(bundle, name))])
    mkdirSync(each, { recursive: true });
  const runc = execFileSync('which', ['runc'], { encoding: 'utf8' }).trim();
  const script = `#!/bin/sh
for argument; do
  [ "$before" = --bundle ] && cp "$argument"/config.json "$argument"/host* "$argument"/resolv.conf '${bundle}' && echo "$argument" >'${bundle}/was'
  before=$argument
done
exec ${runc} "$@"
`;
  writeFileSync(join(programs, 'runc'), script, { mode: 0o755 });
  const env = { ...process.env, PATH: `${programs}${delimiter}${process.env.PATH}` };
  execFileSync(command[0], command.slice(1), { env, stdio: 'ignore' });
  const config = join(bundle, 'config.json');
  const was = readFileSync(join(bundle, 'was'), 'utf8').trim();
  writeFileSync(config, readFileSync(config, 'utf8').replaceAll(was, bundle));
  return bundle;
}

/** As rafter does. */
function mountOverlay(bundle, lower, later) {
  const [rootfs, upper, work] = ['rootfs', 'upper', 'work'].map((name) => join(bundle, name));
  const how = `lowerdir=${lower},upperdir=${upper},workdir=${work},volatile`;
  execFileSync('mount', ['-t', 'overlay', '-o', how, 'overlay', rootfs]);
  later(() => execFileSync('umount', [rootfs]));
}

async function takeTurns(ways, runs) {
  const measured = Object.fromEntries(Object.keys(ways).map((name) => [name, []]));
  // The first time counts for nothing: not everything is in memory.
  for (let i = 0; i <= runs; i++) {
    for (const [name, command] of Object.entries(ways)) {
      const one = await measure(command);
      if (i > 0) measured[name].push(one);
    }
  }
  return Object.entries(measured).map(([name, all]) => ({
    name,
    ours: name === 'rafter run',
    figures: {
      seconds: Math.min(...all.map(({ seconds }) => seconds)),
      cpu: Math.min(...all.map(({ cpu }) => cpu)),
    },
  }));
}
