import type { RunConfig } from '../../image/config.js';
import { basename, dirname, type FoundFile, type ImageFiles, join } from './image-files.js';
import { Libraries } from './libraries.js';
import { addNodeModules } from './node-modules.js';
import { PythonModules } from './python-modules.js';
import { splitWords } from './script.js';
import { StartupSet } from './startup-set.js';

/** Scripts and wrappers that start each other. */
const MAX_PROGRAMS = 8;
const DEFAULT_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';
/** Read before the program by what starts it, and by most programs. */
const FIRST_FILES = ['/etc/passwd', '/etc/group'];
const LOCALE_FILES = [
  ...['/usr/lib/locale/locale-archive', '/usr/lib/locale/C.utf8/LC_CTYPE'],
  ...['lib/x86_64-linux-gnu', 'lib/aarch64-linux-gnu', 'lib64'].map(
    (directory) => `/usr/${directory}/gconv/gconv-modules.cache`,
  ),
];
const SHELLS = /^(ba|da|a|k|z)?sh$|^busybox$/;
/** Programs that start the one in their arguments, and how many arguments of their own stand in front of it. */
const WRAPPERS = new Map([
  ...['tini', 'dumb-init', 'catatonit', 'docker-init', 'env', 'nice', 'exec'].map(
    (name) => [name, 0] as const,
  ),
  ...['gosu', 'su-exec', 'setpriv', 'chroot'].map((name) => [name, 1] as const),
]);

/** Paths, without symbolic links, of the files that a container of the image reads first, in that order; and their bytes. */
export function findStartup(files: ImageFiles, config: RunConfig): { paths: string[]; bytes: number } {
  const command = [...(config.Entrypoint ?? []), ...(config.Cmd ?? [])];
  const environment = new Map(
    (config.Env ?? []).map((each) => {
      const at = each.indexOf('=');
      return [each.slice(0, at), each.slice(at + 1)];
    }),
  );
  const finder = new StartupFinder(files, { environment, workingDir: config.WorkingDir || '/' });
  if (command.length > 0) finder.start(command.map((word) => Buffer.from(word).toString('latin1')));
  const { paths, bytes } = finder.set;
  return { paths, bytes };
}

class StartupFinder {
  readonly set = new StartupSet();
  readonly #files: ImageFiles;
  readonly #environment: ReadonlyMap<string, string>;
  readonly #workingDir: string;
  readonly #libraries: Libraries;

  constructor(
    files: ImageFiles,
    { environment, workingDir }: { environment: ReadonlyMap<string, string>; workingDir: string },
  ) {
    this.#files = files;
    this.#environment = environment;
    this.#workingDir = join('/', workingDir);
    this.#libraries = new Libraries(files, this.set, environment);
  }

  start(command: string[]): void {
    if (!this.#program(command[0]!)) return;
    for (const path of FIRST_FILES) this.#addPath(path);
    this.#run(command, 0);
  }

  #run([name, ...args]: string[], depth: number): void {
    const place = name === undefined ? undefined : this.#program(name);
    if (!place || depth > MAX_PROGRAMS) return;
    const { found, path } = place;
    const { elf, shebang, exec } = found.facts;
    this.set.add(found);
    if (shebang) {
      this.#run([...shebang, path, ...args], depth + 1);
      if (exec && SHELLS.test(basename(shebang[0]!))) this.#exec(exec, args, depth);
      return;
    }
    if (!elf) return;
    this.#libraries.add(found);
    const program = basename(path);
    if (/^(python|pypy)[\d.]*$/.test(program)) this.#python(place, args);
    else if (/^(node|nodejs)$/.test(program)) this.#node(args);
    else if (SHELLS.test(program)) this.#shell(args, depth);
    else if (WRAPPERS.has(program)) this.#wrapped(args, WRAPPERS.get(program)!, depth);
  }

  /** `"$@"` stands for the arguments; other words that the shell would expand tell nothing. */
  #exec(words: string[], args: string[], depth: number): void {
    const command = words.flatMap((word) => (word === '$@' || word === '$*' ? args : [word]));
    if (!command[0]?.includes('$')) this.#run(command, depth + 1);
  }

  #shell(args: string[], depth: number): void {
    const text = args[0] === '-c' ? args[1] : undefined;
    if (text !== undefined) {
      const words = splitWords(text.replace(/^\s*(exec\s+)?/, ''));
      const start = words.findIndex((word) => !/^\w+=/.test(word));
      if (start >= 0 && !words[start]!.includes('$')) this.#run(words.slice(start), depth + 1);
      return;
    }
    const script = args.findIndex((arg) => !arg.startsWith('-'));
    const found = script < 0 ? undefined : this.#files.file(join(this.#workingDir, args[script]!));
    if (!found) return;
    this.set.add(found);
    if (found.facts.exec) this.#exec(found.facts.exec, args.slice(script + 1), depth);
  }

  #wrapped(args: string[], own: number, depth: number): void {
    const end = args.indexOf('--');
    if (end >= 0) {
      this.#run(args.slice(end + 1), depth + 1);
      return;
    }
    const rest = args.flatMap((arg) =>
      arg.startsWith('-S') && arg.length > 2 ? splitWords(arg.slice(2)) : [arg],
    );
    const start = rest.findIndex((arg) => !arg.startsWith('-') && !/^\w+=/.test(arg));
    if (start >= 0) this.#run(rest.slice(start + own), depth + 1);
  }

  #python({ found, path }: Program, args: string[]): void {
    for (const each of LOCALE_FILES) this.#addPath(each);
    const installed = this.#pythonOf(found.path);
    if (!installed) return;
    const image = { files: this.#files, set: this.set, libraries: this.#libraries };
    const modules = new PythonModules(image, { ...installed, program: path });
    const paths = (this.#environment.get('PYTHONPATH') ?? '').split(':').filter(Boolean);
    const at = args.findIndex((arg) => !arg.startsWith('-') || arg === '-c' || arg === '-m');
    const [option, value] = args.slice(Math.max(at, 0));
    const isCode = option === '-c' || option === '-m';
    const main =
      isCode || option === undefined ? undefined : this.#files.file(join(this.#workingDir, option));
    const directory = main ? dirname(main.path) : this.#workingDir;
    modules.start([directory, ...paths.map((each) => join(this.#workingDir, each))]);
    if (main) {
      this.set.add(main);
      modules.importAll(main.facts.python ?? []);
    } else if (option === '-c') modules.runText(value ?? '');
    else if (option === '-m' && value !== undefined) modules.runModule(value);
  }

  /** Where the standard library of a Python is: above the program, as the interpreter itself looks for it. */
  #pythonOf(path: string): { prefix: string; minor: number } | undefined {
    for (let prefix = dirname(path); ; prefix = dirname(prefix)) {
      for (const name of this.#files.names(join(prefix, 'lib'))) {
        const minor = /^python3\.(\d{1,3})$/.exec(name)?.[1];
        const isOther = /3\.\d+$/.test(path) && !path.endsWith(`3.${minor}`);
        if (minor === undefined || isOther || !this.#files.file(join(prefix, `lib/${name}/os.py`))) continue;
        return { prefix, minor: Number(minor) };
      }
      if (prefix === '/') return undefined;
    }
  }

  #node(args: string[]): void {
    for (const path of ['/etc/ssl/openssl.cnf', '/etc/nsswitch.conf']) this.#addPath(path);
    const main = args.find((arg) => !arg.startsWith('-'));
    if (main === undefined) return;
    const path = join(this.#workingDir, main);
    const found = ['', '.js', '/index.js'].map((end) => this.#files.file(path + end)).find(Boolean);
    if (found) addNodeModules(found, { files: this.#files, set: this.set });
  }

  /** What a name means: a path, or a program in PATH. */
  #program(name: string): Program | undefined {
    const search = (this.#environment.get('PATH') ?? DEFAULT_PATH).split(':');
    const paths = name.includes('/')
      ? [join(this.#workingDir, name)]
      : search.map((directory) => join(join(this.#workingDir, directory), name));
    for (const path of paths) {
      const found = this.#files.file(path);
      if (found) return { found, path };
    }
    return undefined;
  }

  #addPath(path: string): void {
    const found = this.#files.file(path);
    if (found) this.set.add(found);
  }
}

/** A program and the path that it was found at, symbolic links in it. */
interface Program {
  found: FoundFile;
  path: string;
}
