import { readFile } from 'node:fs/promises';
import { parse, TomlError } from 'smol-toml';
import * as v from 'valibot';
import { errnoOf, RafterError } from '../../errors.js';
import { systemReason } from '../../os/system-error.js';

/** Most bytes of a configuration file of hosts. */
export const MAX_CONFIG_SIZE = 1 << 20;

/**
 * A TOML file in the shape of `schema`; undefined if there is none, or with `skipsUnreadable` if this user may not read it. Errors name the file and the line or field, but show no
 * value: headers in it may be secrets.
 */
export async function readToml<S extends v.GenericSchema>(
  path: string,
  schema: S,
  { skipsUnreadable = false }: { skipsUnreadable?: boolean } = {},
): Promise<v.InferOutput<S> | undefined> {
  let bytes: Buffer;
  try {
    bytes = await readFile(path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(errnoOf(error) ?? '')) return undefined;
    if (skipsUnreadable && errnoOf(error) === 'EACCES') return undefined;
    const code = errnoOf(error) === 'EACCES' ? 'DENIED' : 'FAILED';
    throw new RafterError(code, `${path}: ${systemReason(error)}`, { cause: error });
  }
  if (bytes.length > MAX_CONFIG_SIZE) {
    throw new RafterError('LIMIT_EXCEEDED', `${path}: ${bytes.length} bytes, more than ${MAX_CONFIG_SIZE}`);
  }
  let value: unknown;
  try {
    value = parse(bytes.toString('utf8'));
  } catch (error) {
    // The parser's own message quotes the lines around.
    const where = error instanceof TomlError ? ` (line ${error.line})` : '';
    throw new RafterError('MALFORMED', `${path}: not TOML${where}`);
  }
  const result = v.safeParse(schema, value);
  if (result.success) return result.output;
  const field = v.getDotPath(result.issues[0]) ?? 'the whole';
  throw new RafterError('MALFORMED', `${path}: ${field} has not the expected type`);
}
