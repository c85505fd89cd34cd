import { closeSync, openSync, readSync } from 'node:fs';
import { homedir } from 'node:os';
import { join, resolve } from 'node:path';
import { errnoOf, messageOf, RafterError } from '../errors.js';
import { systemReason } from '../os/system-error.js';
import type { Config } from './config-schema.js';
import { nearestWord } from './nearest.js';

/** Most bytes of a configuration file. */
export const MAX_CONFIG_FILE = 64 << 10;
const SYSTEM_FILE = '/etc/rafter/config.yaml';

/** A file that was read. */
export interface LoadedConfig {
  /** Absolute. */
  file: string;
  values: Config;
}

/** Where configuration files are looked for. */
export interface ConfigPlaces {
  /** The only file, which then must be there. */
  file?: string | undefined;
  env?: NodeJS.ProcessEnv;
  systemFile?: string;
}

/**
 * The configuration files that there are, the one that counts more last: the system's and the user's, or only the one that
 * `file` or RAFTER_CONFIG names. Throws USAGE that names file, line and column for what cannot be understood, NOT_FOUND for a
 * named file that is not there, DENIED for one that cannot be read, LIMIT_EXCEEDED for one of more than MAX_CONFIG_FILE bytes.
 */
export async function loadConfigs({
  file,
  env = process.env,
  systemFile = SYSTEM_FILE,
}: ConfigPlaces = {}): Promise<LoadedConfig[]> {
  const named = file ?? (env.RAFTER_CONFIG || undefined);
  const home = env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config');
  const places = named === undefined ? [systemFile, join(home, 'rafter/config.yaml')] : [resolve(named)];
  const configs: LoadedConfig[] = [];
  for (const place of places) {
    const text = readConfig(place, named !== undefined);
    if (text !== undefined) configs.push({ file: place, values: await parseConfig(text, place) });
  }
  return configs;
}

const NAME_ANOTHER = 'name a file as docs/configuration.md shows one';

function readConfig(file: string, mustExist: boolean): string | undefined {
  try {
    return readStart(file);
  } catch (error) {
    const errno = errnoOf(error);
    if (errno === 'ENOENT' && !mustExist) return undefined;
    if (errno === 'ENOENT')
      throw new RafterError('NOT_FOUND', `${file}: no such configuration file`, {
        hint: 'rafter config show says which files are looked for',
      });
    if (errno === 'EACCES')
      throw new RafterError('DENIED', `${file}: this user may not read it`, {
        cause: error,
        hint: `ls -l ${file} says who may`,
      });
    if (error instanceof RafterError) throw error;
    if (errno === 'EISDIR')
      throw new RafterError('USAGE', `${file}: a directory where a configuration file was expected`, {
        hint: NAME_ANOTHER,
      });
    throw new RafterError('FAILED', `${file}: ${systemReason(error)}`, { cause: error });
  }
}

/** The whole file, which may be a pipe: not its size says how much there is. LIMIT_EXCEEDED above MAX_CONFIG_FILE. */
function readStart(file: string): string {
  const bytes = Buffer.alloc(MAX_CONFIG_FILE + 1);
  const fd = openSync(file, 'r');
  try {
    let size = 0;
    for (let count = 1; count > 0 && size < bytes.length; size += count)
      count = readSync(fd, bytes, size, bytes.length - size, null);
    if (size > MAX_CONFIG_FILE)
      throw new RafterError('LIMIT_EXCEEDED', `${file}: more than ${MAX_CONFIG_FILE} bytes`, {
        hint: NAME_ANOTHER,
      });
    return bytes.toString('utf8', 0, size);
  } finally {
    closeSync(fd);
  }
}

/** The values in `text`, the content of `file`. Throws USAGE that names file, line and column. */
export async function parseConfig(text: string, file: string): Promise<Config> {
  const [{ isMap, isPair, isScalar, LineCounter, parseDocument }, { checkConfig, configSchema }] =
    await Promise.all([import('yaml'), import('./config-schema.js')]);
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  const refuse = (offset: number, problem: string, hint?: string) => {
    const { line, col } = lines.linePos(offset);
    return new RafterError('USAGE', `${file}:${line}:${col}: ${problem}`, { hint: hint ?? NAME_ANOTHER });
  };
  const [wrong] = [...document.errors, ...document.warnings];
  if (wrong !== undefined) throw refuse(wrong.pos[0], wrong.message);
  if (document.contents === null) return {};
  if (!isMap(document.contents)) throw refuse(0, 'the file must be made of lines KEY: VALUE');
  const checked = checkConfig(readValues());
  if (checked.success) return checked.output;
  const [issue] = checked.issues;
  const path = (issue.path ?? []).map(({ key }) => String(key));
  const key = path.join('.');
  const offset = offsetOf(path);
  // Of an unknown key nothing is expected.
  if (issue.type !== 'strict_object' || issue.expected !== 'never')
    throw refuse(offset, `${key}: ${problemOf(issue.message, issue.expected, issue.received)}`);
  const known = Object.keys(path.length > 1 ? sectionEntries(path[0]!) : configSchema.entries);
  const near = nearestWord(path.at(-1)!, known);
  throw refuse(
    offset,
    `unknown key ${key}`,
    near === undefined ? `known are ${known.join(', ')}` : `did you mean ${near}?`,
  );

  function readValues(): unknown {
    try {
      return document.toJS({ maxAliasCount: 10 });
    } catch (error) {
      throw refuse(0, messageOf(error));
    }
  }

  /** Where the key stands that `path` leads to, or the value in a list. */
  function offsetOf(keys: readonly string[]): number {
    for (let depth = keys.length; depth > 0; depth--) {
      const parent: unknown =
        depth === 1 ? document.contents : document.getIn(keys.slice(0, depth - 1), true);
      const items = (parent as { items?: unknown[] } | undefined)?.items ?? [];
      for (const item of items)
        if (isPair(item) && isScalar(item.key) && String(item.key.value) === keys[depth - 1])
          return item.key.range?.[0] ?? 0;
      const item = items[Number(keys[depth - 1])];
      if (isScalar(item)) return item.range?.[0] ?? 0;
    }
    return 0;
  }

  function sectionEntries(name: string): Record<string, unknown> {
    const section = configSchema.entries[name as 'convert'];
    return section.wrapped.pipe[0].entries;
  }
}

/** What valibot says by itself is about types; our own messages say what to write. */
function problemOf(message: string, expected: string | null, received: string): string {
  if (!message.startsWith('Invalid')) return message;
  return `${received} is not ${expected === 'Object' ? 'a group of lines KEY: VALUE' : (expected ?? 'what may stand here')}`;
}
