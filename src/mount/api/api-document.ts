import type { GenericSchema } from 'valibot';
import { mountRequestSchema, upgradeRequestSchema } from './api.js';
import { RESPONSES } from './api-schemas.js';
import { pinRequestSchema, pruneRequestSchema } from './cache-api.js';

const REQUESTS = {
  MountRequest: mountRequestSchema,
  PinRequest: pinRequestSchema,
  PruneRequest: pruneRequestSchema,
  UpgradeRequest: upgradeRequestSchema,
};

interface Operation {
  method: 'get' | 'post' | 'delete';
  path: string;
  summary: string;
  /** Parameters of path and query, and what they are. */
  parameters?: Record<string, string>;
  request?: keyof typeof REQUESTS;
  /** Missing for answers that are no JSON of ours. */
  response?: keyof typeof RESPONSES;
  /** Media type of an answer that is described elsewhere. */
  type?: string;
}

const FORCE = 'true: also while files are open; they stay readable until they are closed';

/** Every operation of the daemon's API. */
export const OPERATIONS: readonly Operation[] = [
  { method: 'get', path: '/v1/status', summary: 'What the daemon is and does', response: 'DaemonStatus' },
  { method: 'get', path: '/v1/mounts', summary: 'What is mounted', response: 'MountList' },
  {
    method: 'post',
    path: '/v1/mounts',
    summary: 'Mount an image; a client that goes away before the answer undoes it',
    parameters: {
      dataRoot: 'Absolute path: 409 unless the daemon uses this data root. Default: any',
      reuse: 'true: as `reuse` in the request; a daemon of an earlier version takes no notice',
    },
    request: 'MountRequest',
    response: 'MountResult',
  },
  {
    method: 'delete',
    path: '/v1/mounts',
    summary: 'Unmount what is mounted at a place; the answer is what it was',
    parameters: { mountpoint: 'Absolute path of the place', force: FORCE },
    response: 'MountInfo',
  },
  {
    method: 'delete',
    path: '/v1/mounts/{id}',
    summary: 'Unmount; the answer is what was mounted',
    parameters: { id: '`id` of the mount', force: FORCE },
    response: 'MountInfo',
  },
  {
    method: 'get',
    path: '/v1/mounts/{id}/trace',
    summary: 'What was read until now of a mount that records it',
    parameters: { id: '`id` of the mount' },
    response: 'Trace',
  },
  {
    method: 'post',
    path: '/v1/upgrade',
    summary: 'Have another program take over all mounts; it does so after the answer',
    request: 'UpgradeRequest',
    response: 'Done',
  },
  {
    method: 'post',
    path: '/v1/shutdown',
    summary: 'Unmount everything and end; the answer comes when everything is unmounted',
    response: 'Done',
  },
  { method: 'get', path: '/v1/cache', summary: 'The data on the local disk', response: 'CacheListing' },
  {
    method: 'post',
    path: '/v1/cache/verify',
    summary: 'Read all of it again, and drop what is damaged',
    response: 'CacheVerification',
  },
  {
    method: 'post',
    path: '/v1/cache/prune',
    summary: 'Remove what nobody needs',
    request: 'PruneRequest',
    response: 'CachePruned',
  },
  {
    method: 'post',
    path: '/v1/cache/pins',
    summary: 'Keep the blobs of an image on the disk, or do not any more',
    request: 'PinRequest',
    response: 'CachePins',
  },
  { method: 'get', path: '/v1/openapi.json', summary: 'This document', type: 'application/json' },
  {
    method: 'get',
    path: '/metrics',
    summary: 'Metrics for Prometheus (docs/metrics.md)',
    type: 'text/plain',
  },
];

const reference = (name: string) => ({ $ref: `#/components/schemas/${name}` });
const json = (name: string) => ({ 'application/json': { schema: reference(name) } });

/**
 * The API as an OpenAPI document, version 3.1 (its schemas are JSON Schema 2020-12). `toJsonSchema` translates one schema; the
 * daemon serves what `npm run docs` has made with it, so that it needs none.
 */
export function describeApi(toJsonSchema: (schema: GenericSchema) => object): object {
  const schemas = Object.entries({ ...REQUESTS, ...RESPONSES }).map(([name, schema]) => {
    const { $schema: _, ...translated } = toJsonSchema(schema) as { $schema?: string };
    return [name, translated];
  });
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of OPERATIONS) {
    paths[operation.path] ??= {};
    paths[operation.path]![operation.method] = describeOperation(operation);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'rafter daemon',
      version: '1',
      description:
        'HTTP on the unix socket rafter.sock in the run directory, for root and the user whose daemon it is. Answers may get more members in later versions.',
    },
    paths,
    components: { schemas: Object.fromEntries(schemas) },
  };
}

function describeOperation({ path, summary, parameters = {}, request, response, type }: Operation): object {
  const described = Object.entries(parameters).map(([name, description]) => {
    const inPath = path.includes(`{${name}}`);
    const required = inPath || name === 'mountpoint';
    return { name, in: inPath ? 'path' : 'query', required, description, schema: { type: 'string' } };
  });
  const content = response === undefined ? { [type!]: {} } : json(response);
  return {
    summary,
    ...(described.length > 0 && { parameters: described }),
    ...(request && { requestBody: { required: true, content: json(request) } }),
    responses: {
      200: { description: 'Done', content },
      default: { description: 'What went wrong', content: json('ApiError') },
    },
  };
}
