import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { unmount } from '../../src/os/mount.js';
import { readMounts } from '../../src/os/mountinfo.js';

const rafter = resolve(import.meta.dirname, '../../bin/rafter');

/** Commands that have commands of their own. */
const GROUPS = ['daemon', 'cache', 'trace'];

/** What a command did. */
interface CommandResult {
  code: number | null;
  stdout: string;
  stderr: string;
  seconds: number;
}

/** The command line as a user has it, with a data root and a run directory of its own. */
export interface CommandLine {
  /** Below it is everything that commands write; for files of the test, too. */
  dir: string;
  /** Runs `rafter ARGS...` to its end, whatever the exit code. */
  run(...args: string[]): Promise<CommandResult>;
  /** The same, but anything else than exit code 0 is an error that shows what was printed. */
  ok(...args: string[]): Promise<CommandResult>;
  start(...args: string[]): ChildProcess;
  /**
   * Ends the daemon and removes everything; returns what was found although nothing should be there: mounts,
   * processes, containers, temporary files.
   */
  remove(): Promise<string[]>;
}

export function createCommandLine(): CommandLine {
  const dir = mkdtempSync(join(tmpdir(), 'rafter-cli-'));
  const [runDir, dataRoot, temporary] = ['run', 'data', 'tmp'].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  const start = (...args: string[]) => {
    if (!existsSync(resolve(rafter, '../../dist/cli/main.js'))) throw new Error('not built: npm run build');
    const [name = '', ...rest] = args;
    const words = GROUPS.includes(name) ? [name, ...rest.splice(0, 1)] : [name];
    const places = ['--run-dir', runDir, '--data-root', dataRoot];
    return spawn(process.execPath, [rafter, ...words, ...places, ...rest], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { ...process.env, TMPDIR: dir },
    });
  };
  const run = async (...args: string[]): Promise<CommandResult> => {
    const startedAt = performance.now();
    const child = start(...args);
    const out = { stdout: '', stderr: '' };
    child.stdout?.on('data', (piece: Buffer) => (out.stdout += piece.toString()));
    child.stderr?.on('data', (piece: Buffer) => (out.stderr += piece.toString()));
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, ...out, seconds: (performance.now() - startedAt) / 1000 };
  };
  const ok = async (...args: string[]) => {
    const result = await run(...args);
    if (result.code !== 0) {
      throw new Error(`rafter ${args.join(' ')} ended with ${result.code}: ${result.stdout}${result.stderr}`);
    }
    return result;
  };
  return {
    dir,
    run,
    ok,
    start,
    async remove() {
      await run('daemon', 'stop');
      const found = [
        ...(await leftMounts(dir)),
        ...processesNaming(dir).map((process) => `process ${process}`),
        ...filesOf(join(dataRoot, 'containers')),
        ...filesOf(join(runDir, 'images')),
        ...filesOf(temporary),
        ...readdirSync(dir).filter((name) => name.startsWith('rafter-')),
      ];
      for (const { mountPoint } of await readMounts()) {
        if (mountPoint.startsWith(`${dir}/`)) unmount(mountPoint, { detach: true });
      }
      rmSync(dir, { recursive: true, force: true });
      return found;
    },
  };
}

async function leftMounts(dir: string): Promise<string[]> {
  const mounts = await readMounts();
  return mounts
    .filter(({ mountPoint }) => mountPoint.startsWith(`${dir}/`))
    .map((m) => `mount ${m.mountPoint}`);
}

/** Command lines of living processes that name `text`. */
function processesNaming(text: string): string[] {
  return readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => {
      try {
        return `${pid}: ${readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ')}`;
      } catch {
        return '';
      }
    })
    .filter((line) => line.includes(text));
}

function filesOf(directory: string): string[] {
  return existsSync(directory) ? readdirSync(directory).map((name) => join(directory, name)) : [];
}
