// Writes for `npm run build` what V8 makes of files of the bundle, so that bin/rafter need not have them compiled at each start. It
// is for the version of Node.js that builds, and lies in a folder with that name; others compile the sources.
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import Module from 'node:module';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { Script } from 'node:vm';

const bundle = join(import.meta.dirname, 'dist/bundle');
const bytecode = join(bundle, 'bytecode');

/** What starts most and is waited for: containers, the daemon under them, and copies of images. */
const FILES = [
  'main.js',
  'command-line.js',
  'commands.js',
  'config-file.js',
  'client.js',
  'start-daemon.js',
  'running.js',
  'daemon-command.js',
  'daemon.js',
  'copy.js',
  'open.js',
];

rmSync(bytecode, { recursive: true, force: true });
const directory = join(bytecode, `${process.version}-${process.arch}`);
mkdirSync(directory, { recursive: true });
for (const name of withRequired(FILES)) writeFileSync(join(directory, name), precompile(join(bundle, name)));

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
