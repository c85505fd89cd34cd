// Reads files of a mount in all ways until its standard input ends, and compares each byte with the tree that the image was
// made of: node reader.mjs MOUNT TREE SEED. Prints what it has done as JSON.
import { execFileSync } from 'node:child_process';
import { closeSync, openSync, readdirSync, readFileSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { setImmediate as breathe } from 'node:timers/promises';
import koffi from 'koffi';
import { randomFrom } from './tree.mjs';

const [mount, tree, seed] = process.argv.slice(2);
const library = koffi.load('libc.so.6');
const fadvise = library.func('int posix_fadvise(int, int64_t, int64_t, int)');
const mmap = library.func('mmap', 'uintptr_t', ['uintptr_t', 'size_t', 'int', 'int', 'int', 'int64_t']);
const munmap = library.func('int munmap(uintptr_t, size_t)');
const memcpy = library.func('memcpy', 'uintptr_t', ['void *', 'uintptr_t', 'size_t']);
const DONTNEED = 4;
const PROT_READ = 1;
const MAP_SHARED = 1;
const MAX_READ = 300_000;

const random = randomFrom(Number(seed));
const names = readdirSync(join(tree, 'data')).map((name) => `data/${name}`);
const expected = new Map(names.map((name) => [name, readFileSync(join(tree, name))]));
const counts = { reads: 0, bytes: 0, wrong: 0, errors: 0, messages: [] };

const ways = {
  whole: (_, fd, { length }) => {
    const all = Buffer.alloc(length + 1);
    let done = 0;
    for (let n = 1; n > 0; done += n)
      n = readSync(fd, all, done, Math.min(all.length - done, MAX_READ), done);
    return { offset: 0, bytes: all.subarray(0, done) };
  },
  random: (_, fd, { length }) => {
    const offset = Math.floor(random() * length);
    const bytes = Buffer.alloc(Math.min(1 + Math.floor(random() * MAX_READ), length - offset));
    let done = 0;
    for (let n = 1; n > 0 && done < bytes.length; done += n)
      n = readSync(fd, bytes, done, bytes.length - done, offset + done);
    return { offset, bytes: bytes.subarray(0, done), size: bytes.length };
  },
  mapped: (_, fd, { length }) => {
    if (length === 0) return { offset: 0, bytes: Buffer.alloc(0) };
    const address = BigInt(mmap(0, length, PROT_READ, MAP_SHARED, fd, 0));
    if (BigInt.asIntN(64, address) === -1n) throw new Error('mmap failed');
    const bytes = Buffer.alloc(length);
    memcpy(bytes, address, length);
    munmap(address, length);
    return { offset: 0, bytes };
  },
  executed: (name) => ({
    offset: 0,
    bytes: execFileSync(join(mount, 'bin/cat'), [join(mount, name)], { maxBuffer: 1 << 26 }),
  }),
};

function readOne(way, name) {
  const content = expected.get(name);
  const fd = openSync(join(mount, name), 'r');
  try {
    // Without this the kernel would answer from memory.
    fadvise(fd, 0, 0, DONTNEED);
    const { offset, bytes, size = content.length } = ways[way](name, fd, content);
    counts.reads++;
    counts.bytes += bytes.length;
    if (bytes.equals(content.subarray(offset, offset + size))) return;
    counts.wrong++;
    counts.messages.push(`${way} ${name} at ${offset}: ${bytes.length} bytes are not what they should be`);
  } finally {
    closeSync(fd);
  }
}

let goOn = true;
process.stdin.on('end', () => {
  goOn = false;
});
process.stdin.resume();
while (goOn) {
  const pick = random();
  const way = pick < 0.5 ? 'random' : pick < 0.75 ? 'whole' : pick < 0.97 ? 'mapped' : 'executed';
  const name = names[Math.floor(random() * names.length)];
  try {
    readOne(way, name);
  } catch (error) {
    counts.errors++;
    counts.messages.push(`${way} ${name}: ${error.message}`);
  }
  await breathe();
}
process.stdout.write(`${JSON.stringify({ ...counts, messages: counts.messages.slice(0, 10) })}\n`);
