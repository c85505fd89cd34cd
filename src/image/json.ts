import * as v from 'valibot';
import { messageOf, RafterError } from '../errors.js';
import { printable } from './printable.js';

/** A JSON object as it was parsed, with all its members. */
export type JsonObject = Record<string, unknown>;

/** Most arrays and objects inside each other. What is much deeper parses, but cannot be written again: the stack is too small. */
export const MAX_JSON_DEPTH = 256;

const QUOTE = 0x22;
const BACKSLASH = 0x5c;

/** As `parseJson`, but MALFORMED also for everything that is no object. */
export function parseJsonObject(bytes: Buffer, limit: number, name: string): JsonObject {
  const value = parseJson(bytes, limit, name);
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RafterError('MALFORMED', `${name}: not a JSON object`);
  }
  return value as JsonObject;
}

/**
 * Parses `bytes` as JSON in UTF-8. LIMIT_EXCEEDED above `limit` bytes or MAX_JSON_DEPTH, MALFORMED if it is none.
 * `name` says in errors what was parsed.
 */
export function parseJson(bytes: Buffer, limit: number, name: string): unknown {
  if (bytes.length > limit) {
    throw new RafterError(
      'LIMIT_EXCEEDED',
      `${name}: ${bytes.length} bytes, more than the limit of ${limit}`,
    );
  }
  if (depthOf(bytes) > MAX_JSON_DEPTH) {
    throw new RafterError('LIMIT_EXCEEDED', `${name}: JSON nested more than ${MAX_JSON_DEPTH} deep`);
  }
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new RafterError('MALFORMED', `${name}: not JSON: ${printable(messageOf(error))}`, {
      cause: error,
      ...(/^\s*</.test(bytes.toString('latin1', 0, 64)) && {
        hint: 'it looks like a web page: is the name of the registry right, and is no log-in page in between?',
      }),
    });
  }
}

/** Most brackets and braces that are open at one time, outside strings. */
function depthOf(json: Buffer): number {
  let [depth, most, isText] = [0, 0, false];
  for (let at = 0; at < json.length; at++) {
    const byte = json[at]!;
    if (byte === QUOTE) isText = !isText;
    else if (isText) at += Number(byte === BACKSLASH);
    // Both opening brackets and both closing ones differ in one bit only.
    else if ((byte | 0x20) === 0x7b) most = Math.max(most, ++depth);
    else if ((byte | 0x20) === 0x7d) depth--;
  }
  return most;
}

/** `value` as `schema` sees it; MALFORMED, naming the first wrong field by its path, if it does not fit. */
export function checkShape<T extends v.GenericSchema>(
  schema: T,
  value: unknown,
  name: string,
): v.InferOutput<T> {
  const result = v.safeParse(schema, value, { abortEarly: true });
  if (result.success) return result.output;
  const issue = result.issues[0];
  const path = v.getDotPath(issue);
  throw new RafterError(
    'MALFORMED',
    `${name}: ${path === null ? '' : `${printable(path)}: `}${printable(issue.message)}`,
  );
}
