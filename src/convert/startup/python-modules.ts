import { dirname, type FoundFile, type ImageFiles, join } from './image-files.js';
import type { Libraries } from './libraries.js';
import { parsePythonImports } from './python-imports.js';
import type { StartupSet } from './startup-set.js';

const MAX_DEPTH = 400;
/** What every start imports (Python's documentation of `site`, and `python -v`). */
const FIRST_MODULES = [
  'encodings',
  'encodings.aliases',
  'encodings.utf_8',
  'codecs',
  'io',
  'abc',
  'site',
  'os',
  'stat',
];
const SITE_MODULES = [
  'posixpath',
  'genericpath',
  '_collections_abc',
  '_sitebuiltins',
  'sitecustomize',
  'usercustomize',
];
/** In the interpreter itself since Python 3.11 (`FROZEN` in Tools/build/freeze_modules.py). */
const FROZEN = new Set(
  [
    'abc',
    'codecs',
    'io',
    '_collections_abc',
    '_sitebuiltins',
    'genericpath',
    'ntpath',
    'posixpath',
    'os',
    'site',
  ].concat([
    'stat',
    'importlib._bootstrap_external',
    'importlib.util',
    'importlib.machinery',
    'importlib._bootstrap',
    'runpy',
    'zipimport',
  ]),
);
const FROZEN_SINCE = 11;

interface Package {
  /** Directories in which its modules are. */
  places: string[];
  name: string;
}

/** Finds the modules that a Python program imports at its start, and adds them to a start-up set in that order. */
export class PythonModules {
  readonly #files: ImageFiles;
  readonly #set: StartupSet;
  readonly #libraries: Libraries;
  readonly #minor: number;
  readonly #standard: string[];
  readonly #sites: string[];
  #path: string[] = [];

  /** `version` is 3.N; `prefix` that of the installation, `PREFIX/lib/python3.N`; `program` is the path it was started by. */
  constructor(
    image: { files: ImageFiles; set: StartupSet; libraries: Libraries },
    { prefix, minor, program }: { prefix: string; minor: number; program: string },
  ) {
    this.#files = image.files;
    this.#set = image.set;
    this.#libraries = image.libraries;
    this.#minor = minor;
    const library = join(prefix, `lib/python3.${minor}`);
    const environment = dirname(dirname(program));
    const isVirtual = this.#files.file(join(environment, 'pyvenv.cfg')) !== undefined;
    this.#standard = [library, `${library}/lib-dynload`];
    const own = [`${library}/site-packages`, `/usr/local/lib/python3.${minor}/dist-packages`];
    // Debian's places.
    own.push(join(prefix, 'lib/python3/dist-packages'), `${library}/dist-packages`);
    this.#sites = isVirtual ? [`${environment}/lib/python3.${minor}/site-packages`] : own;
  }

  /** Adds what the interpreter reads before the program, `before` being what stands first in its `sys.path`. */
  start(before: string[]): void {
    this.#path = [...this.#standard, ...this.#sites];
    for (const name of FIRST_MODULES) this.import(name);
    for (const site of this.#sites)
      for (const name of this.#files.names(site)) {
        const found = name.endsWith('.pth') && this.#files.file(join(site, name));
        if (found) this.#set.add(found);
      }
    for (const name of SITE_MODULES) this.import(name);
    this.#path = [...before, ...this.#path];
  }

  /** Adds what a program's text imports. */
  importAll(imports: readonly string[]): void {
    for (const each of imports) this.#importFrom(each, undefined, 0);
  }
  runText(text: string): void {
    this.importAll(parsePythonImports(text));
  }

  /** Adds a module by its full name, the packages that it is in, and what they import. */
  import(name: string, depth = 0): void {
    this.#load(name.split('.'), depth);
  }

  /** `python -m name`: its file that is run. */
  runModule(name: string): void {
    this.import(name);
    this.import(`${name}.__main__`);
  }

  #importFrom(text: string, within: Package | undefined, depth: number): void {
    const [target, names] = text.split(':') as [string, string?];
    const level = /^\.*/.exec(target)![0].length;
    const rest = target.slice(level).split('.').filter(Boolean);
    let base = rest;
    if (level > 0) {
      if (!within) return;
      const parents = within.name.split('.').filter(Boolean);
      base = [...parents.slice(0, parents.length - level + 1), ...rest];
      if (parents.length < level) return;
    }
    this.#load(base, depth);
    for (const name of names?.split(',') ?? []) if (name) this.#load([...base, name], depth);
  }

  #load(names: string[], depth: number): void {
    if (depth > MAX_DEPTH) return;
    let places = this.#path;
    for (const [i, name] of names.entries()) {
      const full = names.slice(0, i + 1).join('.');
      const found = this.#locate(places, name);
      if (!found) return;
      if (this.#set.visit(`module ${found.source?.path ?? found.places[0]}`)) this.#read(found, full, depth);
      places = found.places;
    }
  }

  /** Adds the files of a module and goes on with what it imports. */
  #read({ source, at, places }: Located, name: string, depth: number): void {
    if (!source) return;
    if (source.facts.elf) {
      this.#libraries.add(source);
      return;
    }
    const isFrozen = this.#minor >= FROZEN_SINCE && FROZEN.has(name);
    if (!isFrozen) this.#set.add(this.#compiled(at) ?? source);
    const within = { places, name: places.length > 0 ? name : name.split('.').slice(0, -1).join('.') };
    for (const each of source.facts.python ?? []) this.#importFrom(each, within, depth + 1);
  }

  /** What Python reads instead of the text, if it is there. */
  #compiled(path: string): FoundFile | undefined {
    const name = path.slice(path.lastIndexOf('/') + 1).replace(/\.py$/, `.cpython-3${this.#minor}.pyc`);
    return this.#files.file(`${dirname(path)}/__pycache__/${name}`);
  }

  #locate(places: readonly string[], name: string): Located | undefined {
    const spaces: string[] = [];
    for (const place of places) {
      const inside = join(place, name);
      for (const at of [`${inside}/__init__.py`, ...this.#extensions(place, name), `${inside}.py`]) {
        const source = this.#files.file(at);
        if (source) return { source, at, places: at.endsWith('/__init__.py') ? [inside] : [] };
      }
      if (this.#files.isDirectory(inside)) spaces.push(inside);
    }
    return spaces.length > 0 ? { source: undefined, at: '', places: spaces } : undefined;
  }

  #extensions(place: string, name: string): string[] {
    const start = `${name}.`;
    const names = this.#extensionsIn(place).filter((file) => file.startsWith(start));
    return names.map((file) => join(place, file));
  }

  readonly #known = new Map<string, string[]>();
  #extensionsIn(place: string): string[] {
    let known = this.#known.get(place);
    if (!known) {
      const tag = new RegExp(`^[^.]+(\\.cpython-3${this.#minor}[^.]*|\\.abi3)?\\.so$`);
      known = this.#files.names(place).filter((name) => tag.test(name));
      this.#known.set(place, known);
    }
    return known;
  }
}

/** A module: its file, the path that led to it, and where its submodules are, if it is a package. */
interface Located {
  source: FoundFile | undefined;
  at: string;
  places: string[];
}
