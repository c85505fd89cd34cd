import { basename, dirname, type FoundFile, type ImageFiles, join } from './image-files.js';
import type { StartupSet } from './startup-set.js';

const MAX_DEPTH = 400;
const SUFFIXES = ['', '.js', '.json', '.node', '.cjs', '.mjs'];

/** Adds a JavaScript program and, in the order in which they are loaded, the modules that it requires or imports. */
export function addNodeModules(
  program: FoundFile,
  image: { files: ImageFiles; set: StartupSet },
  depth = 0,
): void {
  const { files, set } = image;
  if (depth > MAX_DEPTH || !set.visit(`module ${program.path}`)) return;
  const directory = dirname(program.path);
  const description = nearestPackage(files, directory);
  if (description) set.add(description);
  set.add(program);
  for (const name of program.facts.node ?? []) {
    const module = /^\.{0,2}\//.test(name)
      ? moduleAt(files, join(directory, name))
      : packageModule(image, directory, name);
    if (module) addNodeModules(module, image, depth + 1);
  }
}

/** The file or directory that a path means. */
function moduleAt(files: ImageFiles, path: string): FoundFile | undefined {
  for (const suffix of SUFFIXES) {
    const found = files.file(path + suffix);
    if (found) return found;
  }
  const main = files.file(`${path}/package.json`)?.facts.main;
  for (const index of [...(main === undefined ? [] : [main]), 'index']) {
    for (const suffix of [...SUFFIXES, '/index.js']) {
      const found = files.file(`${path}/${index}${suffix}`);
      if (found) return found;
    }
  }
  return undefined;
}

function packageModule({ files }: { files: ImageFiles }, from: string, name: string): FoundFile | undefined {
  for (let at = from; ; at = dirname(at)) {
    if (basename(at) !== 'node_modules') {
      const found = moduleAt(files, join(at, `node_modules/${name}`));
      if (found) return found;
    }
    if (at === '/') return undefined;
  }
}

function nearestPackage(files: ImageFiles, from: string): FoundFile | undefined {
  for (let at = from; ; at = dirname(at)) {
    const found = files.file(join(at, 'package.json'));
    if (found || at === '/') return found;
  }
}
