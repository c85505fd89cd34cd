// Kills the daemon again and again while programs read through its mounts, and checks every byte that they get:
//
//     npm run test:kill -- --kills 1000 --driver all [--readers 3] [--seed N] [--per-round 50] [--seconds 600] [--json]
//
// Needs root. Exit code 1 if there was a wrong byte, an error or a leak.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runRound } from './round.mjs';
import { randomFrom, writeLayout, writeTree } from './tree.mjs';

const { values } = parseArgs({
  options: {
    kills: { type: 'string', default: '100' },
    driver: { type: 'string', default: 'all' },
    readers: { type: 'string', default: '3' },
    seed: { type: 'string', default: String(Date.now() % 1e9) },
    'per-round': { type: 'string', default: '50' },
    seconds: { type: 'string', default: '86400' },
    json: { type: 'boolean', default: false },
  },
});
if (process.geteuid() !== 0) {
  process.stderr.write('the kill test needs root: only mounts of root outlive their daemon\n');
  process.exit(2);
}
const rafter = new URL('../../bin/rafter', import.meta.url).pathname;
const drivers = values.driver === 'all' ? ['erofs', 'loop', 'fuse'] : [values.driver];
const seed = Number(values.seed);
const random = randomFrom(seed);
const say = (text) => values.json || process.stdout.write(`${text}\n`);
say(`seed ${seed}`);

const total = { kills: 0, actions: {}, reads: 0, bytes: 0, wrong: 0, errors: 0, leaks: 0, messages: [] };
const dir = mkdtempSync(join(tmpdir(), 'rafter-kill-'));
try {
  const tree = join(dir, 'tree');
  writeTree(tree, seed);
  writeLayout(join(dir, 'plain'), tree);
  const reference = `oci:${join(dir, 'image')}:latest`;
  const options = ['--data-root', join(dir, 'convert'), '--run-dir', join(dir, 'run'), '--quiet'];
  execFileSync(rafter, ['convert', `oci:${join(dir, 'plain')}:latest`, reference, ...options]);
  const deadline = Date.now() + Number(values.seconds) * 1000;
  for (let round = 0; total.kills < Number(values.kills) && Date.now() < deadline; round++) {
    const kills = Math.min(Number(values['per-round']), Number(values.kills) - total.kills);
    const driver = drivers[round % drivers.length];
    const place = join(dir, `round-${round}`);
    const result = await runRound({
      dir: place,
      rafter,
      reference,
      tree,
      driver,
      kills,
      deadline,
      random,
      readers: Number(values.readers),
    });
    rmSync(place, { recursive: true, force: true });
    for (const name of ['kills', 'reads', 'bytes', 'wrong', 'errors', 'leaks']) total[name] += result[name];
    for (const [name, count] of Object.entries(result.actions))
      total.actions[name] = (total.actions[name] ?? 0) + count;
    total.messages.push(...result.messages);
    const { messages, actions, ...figures } = result;
    say(`${driver}: ${JSON.stringify({ ...figures, ...actions })}`);
    for (const message of messages) say(`  ${message}`);
  }
} finally {
  rmSync(dir, { recursive: true, force: true });
}
process.stdout.write(values.json ? `${JSON.stringify(total)}\n` : `all: ${JSON.stringify(total, null, 1)}\n`);
process.exitCode = total.wrong + total.errors + total.leaks > 0 ? 1 : 0;
