import { setTimeout as sleep } from 'node:timers/promises';
import { answerError, cutAfter, type FakeRegistry, failWith, type Handler, hangUp } from './fake-registry.js';

/** One way in which a registry may misbehave. */
export interface Fault {
  name: string;
  /** `METHOD URL` of the requests that it may befall. */
  match: RegExp;
  handler(registry: FakeRegistry): Handler;
  /** Codes of the error if it befalls every such request; `right` if all goes well nevertheless. */
  always: (string | 'right')[];
  /** The same if it befalls one request. Default: all goes well. */
  once?: string[];
}

const html: Handler = (_, response) => {
  response.writeHead(502, { 'content-type': 'text/html' }).end('<html><h1>Bad gateway</h1></html>');
};

/** Sends the right answer with other bytes than it should have. */
function changed(change: (bytes: Buffer) => Buffer): Fault['handler'] {
  return (registry) => (request, response, next) => {
    const digest = /sha256:[0-9a-f]{64}/.exec(request.url)?.[0] ?? '';
    const bytes = registry.blobs.get(digest);
    if (bytes === undefined || bytes.length === 0 || request.headers.range !== undefined) return next();
    const other = change(bytes);
    response.writeHead(200, { 'content-length': other.length }).end(other);
  };
}

const BLOB = /GET .*\/blobs\//;
const MANIFEST = /GET .*\/manifests\//;
const UPLOAD = /(?:PUT|PATCH) .*\/uploads\//;

/** All single faults; each is tried alone, and mixtures of them at random. */
export const FAULTS: Fault[] = [
  { name: '500', match: /./, handler: () => failWith(500), always: ['UNAVAILABLE'] },
  { name: '503 with an HTML page', match: /./, handler: () => html, always: ['UNAVAILABLE'] },
  { name: '429', match: /./, handler: () => failWith(429, 'TOOMANYREQUESTS'), always: ['UNAVAILABLE'] },
  {
    name: '429 with Retry-After in seconds',
    match: /./,
    handler: () => failWith(429, 'TOOMANYREQUESTS', { 'retry-after': '0' }),
    always: ['UNAVAILABLE'],
  },
  {
    name: '429 with Retry-After as a date',
    match: /./,
    handler: () => failWith(429, 'TOOMANYREQUESTS', { 'retry-after': new Date().toUTCString() }),
    always: ['UNAVAILABLE'],
  },
  {
    name: '429 for an hour',
    match: /./,
    handler: () => failWith(429, 'TOOMANYREQUESTS', { 'retry-after': '3600' }),
    always: ['UNAVAILABLE'],
    once: ['UNAVAILABLE'],
  },
  {
    name: '403',
    match: /./,
    handler: () => failWith(403, 'DENIED'),
    always: ['DENIED'],
    once: ['DENIED', 'right'],
  },
  {
    name: '401 with a token server',
    match: /\/v2\//,
    handler: (registry) => (request, response, next) => {
      if (request.headers.authorization !== undefined) return next();
      const challenge = `Bearer realm="http://${registry.host}/token",service="x"`;
      response.writeHead(401, { 'www-authenticate': challenge }).end();
    },
    always: ['right'],
  },
  {
    name: '401 whatever the token',
    match: /\/v2\//,
    handler: (registry) => (_, response) => {
      response.writeHead(401, { 'www-authenticate': `Bearer realm="http://${registry.host}/token"` }).end();
    },
    always: ['DENIED'],
  },
  { name: 'hang-up', match: /./, handler: () => hangUp, always: ['UNAVAILABLE'] },
  {
    name: 'hang-up on an upload',
    match: /POST/,
    handler: (registry) => (_, __, next) => {
      registry.traits.cutBodies = 1;
      next();
    },
    always: ['UNAVAILABLE', 'right'],
  },
  { name: 'cut body', match: BLOB, handler: (registry) => cutAfter(registry, 777), always: ['UNAVAILABLE'] },
  {
    name: 'cut body late',
    match: BLOB,
    handler: (registry) => cutAfter(registry, 200_001),
    always: ['UNAVAILABLE', 'right'],
  },
  {
    name: 'wrong bytes',
    match: BLOB,
    handler: changed((bytes) =>
      Buffer.from(bytes.map((byte, i) => (i === bytes.length >> 1 ? byte ^ 1 : byte))),
    ),
    always: ['DIGEST_MISMATCH'],
    once: ['DIGEST_MISMATCH'],
  },
  {
    name: 'too few bytes',
    match: BLOB,
    handler: changed((bytes) => bytes.subarray(1)),
    always: ['TRUNCATED'],
    once: ['TRUNCATED'],
  },
  {
    name: 'too many bytes',
    match: BLOB,
    handler: changed((bytes) => Buffer.concat([bytes, bytes])),
    always: ['DIGEST_MISMATCH'],
    once: ['DIGEST_MISMATCH'],
  },
  {
    name: 'ranges ignored',
    match: BLOB,
    handler: (registry) => (request, response, next) => {
      const bytes = registry.blobs.get(/sha256:[0-9a-f]{64}/.exec(request.url)?.[0] ?? '');
      if (bytes === undefined) return next();
      response.writeHead(200, { 'content-length': bytes.length }).end(bytes);
    },
    always: ['right'],
  },
  {
    name: 'a redirect loop',
    match: BLOB,
    handler: () => (request, response) => void response.writeHead(307, { location: request.url }).end(),
    always: ['UNAVAILABLE'],
    once: ['right'],
  },
  {
    name: 'a redirect to nowhere',
    match: BLOB,
    handler: () => (_, response) => void response.writeHead(307, { location: 'http://127.0.0.1:1/x' }).end(),
    always: ['UNAVAILABLE'],
  },
  {
    name: 'a redirect without a place',
    match: BLOB,
    handler: () => (_, response) => void response.writeHead(307).end(),
    always: ['MALFORMED'],
    once: ['MALFORMED'],
  },
  {
    name: 'a slow drip',
    match: BLOB,
    handler: (registry) => async (request, response, next) => {
      const bytes = registry.blobs.get(/sha256:[0-9a-f]{64}/.exec(request.url)?.[0] ?? '');
      if (bytes === undefined || request.headers.range !== undefined) return next();
      response.writeHead(200, { 'content-length': bytes.length });
      const step = Math.ceil(bytes.length / 8);
      for (let at = 0; at < bytes.length && !response.destroyed; at += step) {
        response.write(bytes.subarray(at, at + step));
        await sleep(5);
      }
      response.end();
    },
    always: ['right'],
  },
  {
    name: '202 without Location',
    match: /POST/,
    handler: () => (_, response) => void response.writeHead(202).end(),
    always: ['MALFORMED'],
    once: ['MALFORMED'],
  },
  {
    name: 'a relative Location',
    match: /POST/,
    handler: (registry) => (_, __, next) => {
      registry.uploads.traits.relative = true;
      next();
    },
    always: ['right'],
  },
  {
    name: 'the upload is forgotten',
    match: UPLOAD,
    handler: () => (_, response) => answerError(response, 404, 'BLOB_UPLOAD_UNKNOWN'),
    always: ['NOT_FOUND'],
  },
  { name: '413', match: UPLOAD, handler: () => failWith(413), always: ['LIMIT_EXCEEDED'], once: ['right'] },
  {
    name: 'stored, but under another digest',
    match: /PUT .*\/uploads\//,
    handler: () => (_, response) => {
      response.writeHead(201, { 'docker-content-digest': `sha256:${'0'.repeat(64)}` }).end();
    },
    always: ['DIGEST_MISMATCH'],
    once: ['DIGEST_MISMATCH'],
  },
  {
    name: 'said to be stored, and not',
    match: /PUT .*\/uploads\//,
    handler: () => (_, response) => void response.writeHead(201).end(),
    always: ['UNAVAILABLE'],
  },
  {
    name: 'a manifest without a digest header',
    match: MANIFEST,
    handler: (registry) => (request, response, next) => {
      const found = registry.manifests.get(/[^/]*$/.exec(request.url)![0]);
      if (found === undefined) return next();
      response.writeHead(200, { 'content-type': found.mediaType }).end(found.bytes);
    },
    always: ['right'],
  },
  {
    name: 'a manifest with a wrong digest header',
    match: MANIFEST,
    handler: (registry) => (request, response, next) => {
      const found = registry.manifests.get(/[^/]*$/.exec(request.url)![0]);
      if (found === undefined) return next();
      response.setHeader('docker-content-digest', `sha256:${'0'.repeat(64)}`);
      response.writeHead(200, { 'content-type': found.mediaType }).end(found.bytes);
    },
    always: ['DIGEST_MISMATCH'],
    once: ['DIGEST_MISMATCH'],
  },
  {
    name: 'a manifest without end',
    match: MANIFEST,
    handler: () => (_, response) => void response.end(Buffer.alloc((8 << 20) + 1, 0x20)),
    always: ['LIMIT_EXCEEDED'],
    once: ['LIMIT_EXCEEDED'],
  },
  {
    name: 'a page for people instead of a manifest',
    match: MANIFEST,
    handler: () => (_, response) => {
      response.writeHead(200, { 'content-type': 'text/html' }).end('<html>log in</html>');
    },
    always: ['MALFORMED'],
    once: ['MALFORMED'],
  },
  {
    name: 'blobs that the registry does not see yet',
    match: /PUT .*\/manifests\//,
    handler: () => failWith(404, 'MANIFEST_BLOB_UNKNOWN'),
    always: ['NOT_FOUND'],
  },
];
