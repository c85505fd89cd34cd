import { basename, dirname, type FoundFile, type ImageFiles, join } from './image-files.js';
import type { StartupSet } from './startup-set.js';

const MAX_CONFIG_DEPTH = 4;
/** Where the dynamic linkers look in the end: Debian's directories by machine (glibc), then everybody's, musl's included. */
const MULTIARCH = ['x86_64', 'aarch64', 'i386', 'arm', 'powerpc64le', 's390x', 'riscv64'];
const DEFAULT_DIRECTORIES = [
  ...MULTIARCH.flatMap((machine) => {
    const triple = `${machine}-linux-gnu${machine === 'arm' ? 'eabihf' : ''}`;
    return [`/lib/${triple}`, `/usr/lib/${triple}`];
  }),
  ...['/lib64', '/usr/lib64', '/lib', '/usr/lib', '/usr/local/lib'],
];
/** Read by what links with a library of this name. */
const READ_BY_LIBRARY: [RegExp, string[]][] = [
  [/^libcrypto\.so/, ['/usr/lib/ssl/openssl.cnf', '/etc/ssl/openssl.cnf', '/etc/pki/tls/openssl.cnf']],
];

/** Finds shared libraries in an image, as ld.so does. */
export class Libraries {
  readonly #files: ImageFiles;
  readonly #set: StartupSet;
  readonly #fromEnvironment: string[];
  readonly #configured: string[];
  /** Names that the running program has looked for: it does so once. */
  readonly #loaded = new Set<string>();

  constructor(files: ImageFiles, set: StartupSet, environment: ReadonlyMap<string, string>) {
    this.#files = files;
    this.#set = set;
    this.#fromEnvironment = (environment.get('LD_LIBRARY_PATH') ?? '').split(/[:;]/).filter(Boolean);
    this.#configured = [...configuredDirectories(files, '/etc/ld.so.conf'), ...DEFAULT_DIRECTORIES];
  }

  /** Adds a program, its interpreter and, breadth first, all libraries that they need. Also for a library loaded later. */
  add(program: FoundFile): void {
    this.#set.add(program);
    const { elf } = program.facts;
    if (!elf) return;
    if (elf.interpreter !== undefined) {
      this.#loaded.clear();
      this.#addPath(elf.interpreter);
      this.#addPath('/etc/ld.so.cache');
    }
    const queue = [{ file: program, rpath: [] as string[] }];
    for (let next = queue.shift(); next; next = queue.shift()) {
      const { file } = next;
      if (!file.facts.elf || !this.#set.visit(`needs of ${file.path}`)) continue;
      const { needed, rpath, runpath } = file.facts.elf;
      const origin = dirname(file.path);
      const expand = (path: string) =>
        path.replaceAll(/\$\{?ORIGIN\}?/g, origin).replaceAll(/\$\{?LIB\}?/g, 'lib');
      const own = runpath.length > 0 ? [] : rpath.map(expand);
      const inherited = [...own, ...next.rpath];
      const places = [
        ...(runpath.length > 0 ? [] : inherited),
        ...this.#fromEnvironment,
        ...runpath.map(expand),
        ...this.#configured,
      ];
      for (const name of needed) {
        if (this.#loaded.has(name)) continue;
        this.#loaded.add(name);
        const library = this.#find(name, places, elf.machine);
        if (!library) continue;
        this.#set.add(library);
        for (const [pattern, paths] of READ_BY_LIBRARY)
          if (pattern.test(basename(name))) for (const path of paths) this.#addPath(path);
        queue.push({ file: library, rpath: inherited });
      }
    }
  }

  #find(name: string, places: string[], machine: number): FoundFile | undefined {
    const paths = name.includes('/') ? [name] : places.map((place) => join(place, name));
    for (const path of paths) {
      const found = this.#files.file(path);
      if (found?.facts.elf?.machine === machine) return found;
    }
    return undefined;
  }

  #addPath(path: string): void {
    const found = this.#files.file(path);
    if (found) this.#set.add(found);
  }
}

/** Directories that a configuration file of ld.so lists, those of included files among them. */
function configuredDirectories(files: ImageFiles, path: string, depth = 0): string[] {
  const lines = files.file(path)?.facts.lines ?? [];
  return lines.flatMap((line) => {
    const pattern = /^include\s+(\S+)/.exec(line)?.[1];
    if (pattern === undefined) return line.startsWith('/') ? [line.split(/[\s=]/, 1)[0]!] : [];
    const directory = dirname(join(dirname(path), pattern));
    if (depth >= MAX_CONFIG_DEPTH || !basename(pattern).startsWith('*')) return [];
    const names = files.names(directory).filter((name) => name.endsWith(basename(pattern).slice(1)));
    return names.flatMap((name) => configuredDirectories(files, join(directory, name), depth + 1));
  });
}
