import * as v from 'valibot';
import { RafterError } from '../../errors.js';

/**
 * The body of a request to the daemon, checked against its schema. USAGE if it is not what it should be; `what` names the kind
 * of request.
 */
export function parseRequest<S extends v.GenericSchema>(
  what: string,
  schema: S,
  body: string,
): v.InferOutput<S> {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    throw new RafterError('USAGE', 'the request body is not JSON');
  }
  const parsed = v.safeParse(schema, json);
  if (parsed.success) return parsed.output;
  // The issue's own message may repeat what was given, which may be a password; the path never does.
  const field = v.getDotPath(parsed.issues[0]!) ?? 'request';
  throw new RafterError('USAGE', `${what} request: ${field} is missing, unknown or not what it should be`);
}
