// Changes the files of a writable mount until its standard input ends, and checks everything that it reads against what it has written:
//
//     node writer.mjs MOUNT TREE SEED
//
// MOUNT shows the files of TREE at first. Prints {"changes", "checks", "wrong": [...], "files": {name: sha256}}.
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  closeSync,
  openSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { setImmediate as breathe } from 'node:timers/promises';

const [mount, tree, seed] = process.argv.slice(2);
const MAX_PIECE = 20_000;

let state = Number(seed) >>> 0;
const random = (below) => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
};

/** What every file should hold. */
const files = new Map(readdirSync(tree).map((name) => [name, readFileSync(join(tree, name))]));
const counts = { changes: 0, checks: 0, wrong: [] };
let made = 0;
const piece = () => Buffer.alloc(1 + random(MAX_PIECE), `piece ${made++};`);
const pick = () => [...files.keys()][random(files.size)];
const path = (name) => join(mount, name);

const changes = [
  function append(name) {
    const more = piece();
    appendFileSync(path(name), more);
    files.set(name, Buffer.concat([files.get(name), more]));
  },
  function overwrite(name) {
    const bytes = Buffer.from(files.get(name));
    const at = random(bytes.length);
    const part = piece().subarray(0, bytes.length - at);
    const fd = openSync(path(name), 'r+');
    writeSync(fd, part, 0, part.length, at);
    closeSync(fd);
    part.copy(bytes, at);
    files.set(name, bytes);
  },
  function rename(name) {
    const to = `renamed-${made++}`;
    renameSync(path(name), path(to));
    files.set(to, files.get(name));
    files.delete(name);
  },
  function replace(name) {
    rmSync(path(name));
    files.delete(name);
    const [to, bytes] = [`new-${made++}`, piece()];
    writeFileSync(path(to), bytes);
    files.set(to, bytes);
  },
];

function check(name) {
  counts.checks++;
  if (!readFileSync(path(name)).equals(files.get(name))) counts.wrong.push(name);
}

let goOn = true;
process.stdin.on('end', () => {
  goOn = false;
});
process.stdin.resume();
while (goOn) {
  const name = pick();
  if (random(3) === 0) check(name);
  else {
    const change = changes[random(changes.length)];
    try {
      change(name);
      counts.changes++;
      if (counts.changes === 20) process.stdout.write('\n');
    } catch (error) {
      counts.wrong.push(`${change.name} ${name}: ${error.message}`);
      break;
    }
  }
  await breathe();
}
for (const name of files.keys()) check(name);
const there = readdirSync(mount).toSorted();
if (there.join('\n') !== [...files.keys()].toSorted().join('\n')) counts.wrong.push(`names: ${there}`);
const sum = (bytes) => createHash('sha256').update(bytes).digest('hex');
const sums = Object.fromEntries([...files].map(([name, bytes]) => [name, sum(bytes)]));
process.stdout.write(`${JSON.stringify({ ...counts, files: sums })}\n`);
