import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { BENCHES } from './benches.mjs';
import { readCommandLine } from './command-line.mjs';
import { formatComparison } from './comparison.mjs';
import { describeMachine, findProgram, versionsOf } from './machine.mjs';
import { drawRuns, numbersPage, withNumbers } from './page.mjs';

const project = resolve(import.meta.dirname, '../..');

const USAGE = `usage: npm run bench -- [OPTIONS] [LAYOUT:TAG...]

Runs the benches (${BENCHES.map(({ name }) => name).join(', ')}), prints what they measure, and writes it with machine and versions as
results.json, with a picture of each bench. Benches that take one image take the first one. Without LAYOUT:TAG, the image that
quickstart builds. Needs root and what each bench needs (npm run bench:NAME -- --help); peers are taken from RAFTER_PEERS. Nothing
else should run on the machine.

  --short         a run that is over in a few minutes, with less of everything
  --only <bench>  this bench; may be repeated; the results of the others are kept as they are
  --out <dir>     where results.json and the pictures are written (default .cache/bench)
  --readme        write them to docs/bench, and the numbers of README.md and docs/numbers.md
  --draw          measure nothing: draw and write again what results.json has`;

const { options, named: images } = readCommandLine(USAGE, {
  short: false,
  only: [],
  out: undefined,
  readme: false,
  draw: false,
});
await main();

async function main() {
  const wanted = BENCHES.filter(({ name }) => options.only.length === 0 || options.only.includes(name));
  const unknown = options.only.filter((name) => !BENCHES.some((bench) => bench.name === name));
  if (unknown.length > 0) throw new Error(`there is no bench ${unknown.join(', ')}`);
  const dir = resolve(options.out ?? join(project, options.readme ? 'docs/bench' : '.cache/bench'));
  const results = join(dir, 'results.json');
  const known = existsSync(results) ? JSON.parse(readFileSync(results, 'utf8')).runs : [];
  let failed = false;
  const runs = new Map(known.map((run) => [run.bench, run]));
  if (!options.draw) {
    for (const bench of wanted) {
      const lacks = missing(bench);
      if (lacks === undefined) {
        const run = await runBench(bench);
        if (run === undefined) failed = true;
        else runs.set(bench.name, run);
      } else console.error(`\n== ${bench.name}: left out, needs ${lacks}`);
      // After each: hours of measuring should not be lost with the last bench.
      write([...runs.values()], dir, results);
    }
  } else write([...runs.values()], dir, results);
  console.error(`\n== written to ${dir}`);
  if (failed) process.exitCode = 1;
}

function missing({ needs, root }) {
  if (root && process.getuid() !== 0) return 'root';
  const programs = needs.filter((name) => findProgram(name) === undefined);
  return programs.length > 0 ? programs.join(', ') : undefined;
}

/** Runs a bench and prints its comparisons as they come; nothing if it failed. */
async function runBench({ name, script, images: most, short, programs }) {
  console.error(`\n== ${name}`);
  const run = {
    bench: name,
    date: new Date().toISOString(),
    short: options.short,
    machine: describeMachine(),
    versions: versionsOf(programs),
    comparisons: [],
  };
  // Whom this machine's shell trusts is not for benches, and Node.js would read all of those certificates at every start.
  const { NODE_EXTRA_CA_CERTS: _, ...env } = process.env;
  const args = [...(options.short ? short : []), '--json', ...images.slice(0, most)];
  const child = spawn(process.execPath, [join(import.meta.dirname, script), ...args], {
    env,
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const ended = once(child, 'exit');
  // The bench ends what it began; Ctrl-C reaches it by itself.
  let signalled = false;
  const stop = (signal) => {
    signalled = true;
    if (signal === 'SIGTERM') child.kill(signal);
  };
  process.on('SIGINT', stop).on('SIGTERM', stop);
  for await (const line of createInterface({ input: child.stdout })) {
    const comparison = JSON.parse(line);
    console.log(`\n${formatComparison(comparison)}`);
    run.comparisons.push(comparison);
  }
  const [code] = await ended;
  process.off('SIGINT', stop).off('SIGTERM', stop);
  if (signalled) process.exit(130);
  if (code === 0) return run;
  console.error(`== ${name} failed: its results are left out`);
  return undefined;
}

function write(runs, dir, results) {
  mkdirSync(dir, { recursive: true });
  writeFileSync(results, `${JSON.stringify({ runs }, null, 1)}\n`);
  for (const [name, svg] of Object.entries(drawRuns(runs))) writeFileSync(join(dir, name), svg);
  if (!options.readme) return;
  writeFileSync(join(project, 'docs/numbers.md'), numbersPage(runs));
  const readme = join(project, 'README.md');
  writeFileSync(readme, withNumbers(readFileSync(readme, 'utf8'), runs));
}
