import * as v from 'valibot';
import { messageOf, RafterError } from '../errors.js';
import { printable } from './printable.js';

/** A JSON object as it was parsed, with all its members. */
export type JsonObject = Record<string, unknown>;

/**
 * Parses `bytes` as one JSON object in UTF-8. LIMIT_EXCEEDED above `limit` bytes, MALFORMED if it is not an object.
 * `name` says in errors what was parsed.
 */
export function parseJsonObject(bytes: Buffer, limit: number, name: string): JsonObject {
  if (bytes.length > limit) {
    throw new RafterError(
      'LIMIT_EXCEEDED',
      `${name}: ${bytes.length} bytes, more than the limit of ${limit}`,
    );
  }
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (error) {
    throw new RafterError('MALFORMED', `${name}: not JSON: ${printable(messageOf(error))}`, {
      cause: error,
    });
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new RafterError('MALFORMED', `${name}: not a JSON object`);
  }
  return value as JsonObject;
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
