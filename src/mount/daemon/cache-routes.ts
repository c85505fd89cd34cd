import { RafterError } from '../../errors.js';
import { pinRequestSchema, pruneRequestSchema } from '../api/cache-api.js';
import type { CacheService } from './cache-service.js';
import { parseRequest } from './parse-request.js';

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
  if (route === 'POST /v1/cache/prune')
    return service.prune(parseRequest('cache', pruneRequestSchema, await body()));
  if (route === 'POST /v1/cache/pins')
    return service.pin(parseRequest('cache', pinRequestSchema, await body()));
  throw new RafterError('NOT_FOUND', `the daemon's API has no ${route}`);
}
