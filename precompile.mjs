// Writes for `npm run build` what V8 makes of files of the bundle, so that bin/rafter need not have them compiled at each start. It
// is for the version of Node.js that builds, and lies in a folder with that name; others compile the sources.
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import Module from 'node:module';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

const bundle = join(import.meta.dirname, 'dist/bundle');
const bytecode = join(bundle, 'bytecode');

/**
 * What starts most and is waited for: containers, the daemon under them, and copies of images. V8 takes bytecode only if it was made under the flags
 * with which it runs (`HEAP_FLAGS` of src/cli/daemon-place.ts).
 * @type {Record<string, { flags: string[], files: string[] }>}
 */
const KINDS = {
  '': {
    flags: [],
    files: [
      'main.js',
      'command-line.js',
      'commands.js',
      'config-file.js',
      'client.js',
      'start-daemon.js',
      'running.js',
      'copy.js',
      'open.js',
    ],
  },
  '-daemon': {
    flags: ['--max-semi-space-size=1', '--expose-gc'],
    files: ['main.js', 'command-line.js', 'daemon-command.js', 'config-file.js', 'daemon.js'],
  },
};

const [kind] = process.argv.slice(2);
if (kind === undefined) {
  rmSync(bytecode, { recursive: true, force: true });
  for (const [name, { flags }] of Object.entries(KINDS))
    execFileSync(process.execPath, [...flags, import.meta.filename, name], { stdio: 'inherit' });
} else {
  const directory = join(bytecode, `${process.version}-${process.arch}${kind}`);
  mkdirSync(directory, { recursive: true });
  for (const name of withRequired(KINDS[kind].files))
    writeFileSync(join(directory, name), precompile(join(bundle, name)));
}

/** The files of the bundle with these names, and all that they require as soon as they are loaded. */
function withRequired(names, found = new Set()) {
  for (const name of names.filter((one) => !found.has(one))) {
    found.add(name);
    const source = readFileSync(join(bundle, name), 'utf8');
    const required = [...source.matchAll(/^(?:const \S+ = )?require\("\.\/(.+)"\)/gm)];
    withRequired(
      required.map(([, one]) => one),
      found,
    );
  }
  return found;
}

/** Bytecode of the file as bin/rafter wraps it. */
function precompile(filename) {
  // Functions too, which V8 else compiles when they are called. The flag is off again before V8 notes the flags.
  setFlagsFromString('--no-lazy');
  const script = new Script(Module.wrap(readFileSync(filename, 'utf8')), { filename });
  setFlagsFromString('--lazy');
  return script.createCachedData();
}
