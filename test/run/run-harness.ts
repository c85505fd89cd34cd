import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { RunConfig } from '../../src/image/config.js';
import type { RunOptions } from '../../src/run/options.js';
import { findRunc } from '../../src/run/runc.js';
import { makeSmallRootfs } from './small-rootfs.js';

/** The compiled module: a container needs a process of its own, with its own streams, signals and exit code. */
const MODULE = new URL('../../dist/run/run-image.js', import.meta.url);

/** Exit code of the child when `runImage` throws. Its standard error then reads `CODE: message (hint)`. */
export const THROWN = 99;

const CHILD = `
  process.env.PATH = process.argv[2] + ':' + process.env.PATH;
  const { runImage } = await import('${MODULE.href}');
  try {
    process.exitCode = await runImage(JSON.parse(process.argv[1]));
  } catch (error) {
    process.stderr.write(error.code + ': ' + error.message + ' (' + error.hint + ')\\n');
    process.exitCode = ${THROWN};
  }`;

export interface Outcome {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** A place to run containers in, with a small root file system. */
export class RunHarness {
  readonly directory = mkdtempSync(join(tmpdir(), 'rafter-run-'));
  readonly lower = makeSmallRootfs(join(this.directory, 'image'));
  readonly runDir = join(this.directory, 'run');
  readonly dataRoot = join(this.directory, 'data');
  readonly #programs = join(this.directory, 'bin');
  readonly #runcLog = join(this.directory, 'runc.log');

  /** Puts a runc in front of the machine's that notes what it is asked for: which containers are ours. */
  #noteRunc(): void {
    if (existsSync(this.#programs)) return;
    mkdirSync(this.#programs);
    // Behind it the PATH has what a test has put there, if it has.
    const next = `PATH=\${PATH#*:}:${dirname(findRunc())}`;
    const script = `#!/bin/sh\necho "$*" >>${this.#runcLog}\n${next}\nexec runc "$@"\n`;
    writeFileSync(join(this.#programs, 'runc'), script, { mode: 0o755 });
  }

  /** Command line of a process that runs the container. */
  argv(options: RunOptions, config: RunConfig = {}, lower = this.lower): string[] {
    if (!existsSync(MODULE)) throw new Error('dist/ is missing: npm run build');
    this.#noteRunc();
    const { runDir, dataRoot } = this;
    const request = JSON.stringify({ lower, config, options, runDir, dataRoot });
    return [process.execPath, '--input-type=module', '-e', CHILD, request, this.#programs];
  }

  /** Runs a container to its end. `input` is what its standard input would hold. */
  run(
    options: RunOptions,
    extra: { config?: RunConfig; input?: string; env?: NodeJS.ProcessEnv } = {},
  ): Outcome {
    const [program, ...args] = this.argv(options, extra.config);
    const { status, stdout, stderr } = spawnSync(program!, args, {
      encoding: 'utf8',
      input: extra.input ?? '',
      env: { ...process.env, ...extra.env },
      timeout: 60_000,
    });
    return { code: status, stdout, stderr };
  }

  /** What a shell script prints in a container; throws if it fails. */
  sh(script: string, options: RunOptions = {}, config: RunConfig = {}): string {
    const { code, stdout, stderr } = this.run({ ...options, command: ['sh', '-c', script] }, { config });
    if (code !== 0) throw new Error(`exit code ${code}: ${stderr}`);
    return stdout.trimEnd();
  }

  /** Starts a container and returns when it has printed a line. */
  async start(options: RunOptions): Promise<ChildProcess> {
    const [program, ...args] = this.argv(options);
    const child = spawn(program!, args, { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(child.stdout!, 'data');
    return child;
  }

  /** Everything that should be gone when no container runs; empty if it is. */
  leftovers(): string[] {
    const mounts = readFileSync('/proc/self/mountinfo', 'utf8')
      .split('\n')
      .filter((line) => line.includes(this.directory));
    const files = [join(this.dataRoot, 'containers'), join(this.runDir, 'runc')]
      .filter((path) => existsSync(path))
      .flatMap((path) => readdirSync(path).map((name) => join(path, name)));
    const processes = readdirSync('/proc')
      .filter((pid) => /^\d+$/.test(pid) && Number(pid) !== process.pid)
      .filter((pid) => commandLine(pid).includes(this.directory));
    return [...mounts, ...files, ...processes.map(commandLine), ...this.#cgroups()];
  }

  /** Control groups of containers of this harness. Others may come and go meanwhile: other tests run containers as well. */
  #cgroups(): string[] {
    if (!existsSync(this.#runcLog)) return [];
    const ids = new Set(readFileSync(this.#runcLog, 'utf8').match(/\brafter-[0-9a-f]{12}\b/g));
    // It fails when a directory goes while it looks.
    const { stdout } = spawnSync('find', ['/sys/fs/cgroup', '-maxdepth', '3', '-name', 'rafter-*'], {
      encoding: 'utf8',
    });
    return stdout.split('\n').filter((path) => ids.has(path.slice(path.lastIndexOf('/') + 1)));
  }

  /** Files to share with a container. */
  shared(): string {
    const path = join(this.directory, 'shared');
    mkdirSync(path, { recursive: true });
    return path;
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

function commandLine(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}
