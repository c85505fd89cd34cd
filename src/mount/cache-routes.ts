import * as v from 'valibot';
import { RafterError } from '../errors.js';
import { pinRequestSchema, pruneRequestSchema } from './cache-api.js';
import type { CacheService } from './cache-service.js';

/** What a request for `/v1/cache` brings along. */
export interface CacheRequest {
  /** Method and path. */
  route: string;
  body: () => Promise<string>;
  /** Aborted when the client has gone. */
  signal: AbortSignal;
}

/** Answers the requests that `cache-api.ts` describes. Throws NOT_FOUND for others, USAGE for a body that is wrong. */
export async function answerCache(
  service: CacheService,
  { route, body, signal }: CacheRequest,
): Promise<unknown> {
  if (route === 'GET /v1/cache') return service.list();
  if (route === 'POST /v1/cache/verify') return service.verify(signal);
  if (route === 'POST /v1/cache/prune') return service.prune(parse(pruneRequestSchema, await body()));
  if (route === 'POST /v1/cache/pins') return service.pin(parse(pinRequestSchema, await body()));
  throw new RafterError('NOT_FOUND', `the daemon's API has no ${route}`);
}

function parse<S extends v.GenericSchema>(schema: S, body: string): v.InferOutput<S> {
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    throw new RafterError('USAGE', 'the request body is not JSON');
  }
  const parsed = v.safeParse(schema, json);
  if (parsed.success) return parsed.output;
  const field = v.getDotPath(parsed.issues[0]) ?? 'request';
  throw new RafterError('USAGE', `cache request: ${field} is missing, unknown or not what it should be`);
}
