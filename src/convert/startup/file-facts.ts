/** What of a file's content says what is read when the file is run. Paths and names are bytes as latin1 text. */
export interface FileFacts {
  elf?: ElfFacts;
  /** Program and argument of `#!`. */
  shebang?: string[];
  /** Words of the last `exec` of a shell script. */
  exec?: string[];
  /** What a Python module imports, as `parsePythonImports` gives it. */
  python?: string[];
  /** What a JavaScript module requires or imports. */
  node?: string[];
  /** Path that a package.json names as the package's module. */
  main?: string;
  /** Lines of the dynamic linker's configuration. */
  lines?: string[];
}

/** Of a program or shared library. */
export interface ElfFacts {
  /** `e_machine` and the class, as one number: libraries of another machine are passed over. */
  machine: number;
  interpreter?: string;
  /** Names or paths of the libraries that it needs. */
  needed: string[];
  /** Directories of DT_RPATH and DT_RUNPATH, with `$ORIGIN` in them. */
  rpath: string[];
  runpath: string[];
}
