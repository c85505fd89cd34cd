import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { ociDigest } from '../../src/codec/digest.js';
import { OCI_INDEX } from '../../src/image/media-types.js';
import { parseReference, type RegistryReference } from '../../src/image/reference.js';
import { FakeUploads } from './fake-uploads.js';
import { stopServer } from './stop-server.js';

/** A request as it arrived, its body read. */
export interface FakeRequest {
  method: string;
  /** Path with query. */
  url: string;
  headers: IncomingMessage['headers'];
  body: Buffer;
  incoming: IncomingMessage;
}

/** Answers a request in place of the registry; `next` is the registry's own answer. */
export type Handler = (request: FakeRequest, response: ServerResponse, next: () => void) => void;

/** A registry in this process that does what it is told, wrong things included. */
export interface FakeRegistry {
  /** `127.0.0.1:PORT`. */
  host: string;
  requests: FakeRequest[];
  /** By digest. */
  blobs: Map<string, Buffer>;
  /** By tag and by digest. */
  manifests: Map<string, { mediaType: string; bytes: Buffer }>;
  /** Uploads under way, and how this registry takes them. */
  uploads: FakeUploads;
  /** What it offers beyond blobs and manifests; nothing by default. */
  traits: {
    referrers?: boolean;
    referrersPerPage?: number;
    /** Link header to the page of its list that `query` asks for. */
    linkTo?: (path: string, query: string) => string;
    deletes?: boolean;
    headers?: Record<string, string>;
    /** How many of the next request bodies are hung up on after their first bytes. */
    cutBodies?: number;
  };
  /** Lets `handler` answer the next `times` requests whose `METHOD URL` matches. Later ones come before earlier ones. */
  intercept(match: RegExp, handler: Handler, times?: number): void;
  addBlob(bytes: Buffer): { mediaType: string; digest: string; size: number };
  reference(rest?: string): RegistryReference;
  /** Cuts all connections. */
  cut(): void;
  stop(): Promise<void>;
}

export async function startFakeRegistry(): Promise<FakeRegistry> {
  const blobs: FakeRegistry['blobs'] = new Map();
  const manifests: FakeRegistry['manifests'] = new Map();
  const requests: FakeRequest[] = [];
  const uploads = new FakeUploads(blobs);
  const traits: FakeRegistry['traits'] = {};
  const rules: { match: RegExp; handler: Handler; left: number }[] = [];
  let host = '';

  const server = createServer(async (incoming, response) => {
    const pieces: Buffer[] = [];
    if ((traits.cutBodies ?? 0) > 0 && incoming.method !== 'POST') {
      incoming.once('data', () => {
        traits.cutBodies!--;
        incoming.destroy();
      });
    }
    uploads.receive(incoming);
    try {
      for await (const piece of incoming) pieces.push(piece);
    } catch {
      return;
    }
    const { method = '', url = '', headers } = incoming;
    const request: FakeRequest = { method, url, headers, body: Buffer.concat(pieces), incoming };
    requests.push(request);
    for (const [name, value] of Object.entries(traits.headers ?? {})) response.setHeader(name, value);
    const applicable = rules
      .filter(({ match, left }) => left > 0 && match.test(`${method} ${url}`))
      .reverse();
    const step = (index: number) => {
      const rule = applicable[index];
      if (rule === undefined) return serve(request, response);
      rule.left--;
      rule.handler(request, response, () => step(index + 1));
    };
    step(0);
  });

  function serve(request: FakeRequest, response: ServerResponse) {
    const url = new URL(request.url, `http://${host}`);
    const [, kind, name = ''] = /^\/v2\/.+?\/(blobs|manifests)\/(.*)$/.exec(url.pathname) ?? [];
    if (kind === 'blobs' && name.startsWith('uploads/')) return uploads.serve(request, response, host);
    if (kind === 'blobs') return serveBlob(request, response, blobs.get(name));
    if (url.pathname === '/v2/') return void response.end('{}');
    if (url.pathname.includes('/referrers/') && traits.referrers) return serveReferrers(url, response);
    if (request.method === 'DELETE' && kind === 'manifests') {
      if (!traits.deletes) return answerError(response, 405, 'UNSUPPORTED');
      const bytes = manifests.get(name)?.bytes;
      for (const [key, { bytes: other }] of manifests)
        if (key === name || other === bytes) manifests.delete(key);
      return void response.writeHead(bytes ? 202 : 404).end();
    }
    if (kind === 'manifests' && request.method === 'PUT') {
      const manifest = { mediaType: request.headers['content-type'] ?? '', bytes: request.body };
      const digest = ociDigest(request.body);
      manifests.set(name, manifest).set(digest, manifest);
      const { subject } = JSON.parse(request.body.toString());
      const listed = traits.referrers && subject ? { 'oci-subject': subject.digest } : {};
      response.writeHead(201, { 'docker-content-digest': digest, ...listed }).end();
      return;
    }
    if (kind === 'manifests') {
      const manifest = manifests.get(name);
      if (manifest === undefined) return answerError(response, 404, 'MANIFEST_UNKNOWN');
      response.writeHead(200, {
        'content-type': manifest.mediaType,
        'content-length': manifest.bytes.length,
        'docker-content-digest': ociDigest(manifest.bytes),
      });
      response.end(request.method === 'HEAD' ? undefined : manifest.bytes);
      return;
    }
    answerError(response, 404, 'NAME_UNKNOWN');
  }

  function serveReferrers(url: URL, response: ServerResponse) {
    const digest = /[^/]*$/.exec(url.pathname)![0];
    const [from, wanted] = [Number(url.searchParams.get('from')), url.searchParams.get('artifactType')];
    const all = [...manifests].flatMap(([key, { mediaType, bytes }]) => {
      const { subject, artifactType, annotations } = JSON.parse(bytes.toString());
      const isOne = key.startsWith('sha256:') && subject?.digest === digest;
      if (!isOne || (wanted !== null && artifactType !== wanted)) return [];
      return [{ mediaType, digest: key, size: bytes.length, artifactType, annotations }];
    });
    const {
      referrersPerPage: count = all.length,
      linkTo = (path, query) => `<${path}${query}>; rel="next"`,
    } = traits;
    const next = linkTo(url.pathname, `?from=${from + count}`);
    response.writeHead(200, {
      'content-type': OCI_INDEX,
      ...(from + count < all.length ? { link: next } : {}),
    });
    const page = all.slice(from, from + count);
    response.end(JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests: page }));
  }

  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    host,
    requests,
    blobs,
    manifests,
    uploads,
    traits,
    intercept: (match, handler, times = 1) => void rules.push({ match, handler, left: times }),
    addBlob(bytes) {
      const digest = ociDigest(bytes);
      blobs.set(digest, bytes);
      return { mediaType: 'application/octet-stream', digest, size: bytes.length };
    },
    reference: (rest = 'team/app:1') => parseReference(`${host}/${rest}`) as RegistryReference,
    cut: () => server.closeAllConnections(),
    stop: () => stopServer(server),
  };
}

function serveBlob(request: FakeRequest, response: ServerResponse, blob: Buffer | undefined) {
  if (blob === undefined) return answerError(response, 404, 'BLOB_UNKNOWN');
  const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '') ?? [];
  if (from === undefined) {
    response.writeHead(200, { 'content-length': blob.length });
    response.end(request.method === 'HEAD' ? undefined : blob);
    return;
  }
  const start = Number(from);
  const end = to ? Math.min(Number(to), blob.length - 1) : blob.length - 1;
  if (start >= blob.length) return answerError(response, 416, 'RANGE_INVALID');
  response.writeHead(206, {
    'content-length': end - start + 1,
    'content-range': `bytes ${start}-${end}/${blob.length}`,
  });
  response.end(blob.subarray(start, end + 1));
}

/** Answers with a registry's JSON error. */
export function answerError(
  response: ServerResponse,
  status: number,
  code: string,
  headers: Record<string, string> = {},
): void {
  const body = JSON.stringify({ errors: [{ code, message: `the ${code}` }] });
  response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(body);
}

/** Always this error. */
export function failWith(status: number, code = 'UNKNOWN', headers: Record<string, string> = {}): Handler {
  return (_request, response) => answerError(response, status, code, headers);
}

/** Sends the first `count` bytes of the right body with the right headers, then cuts the connection. */
export function cutAfter(registry: FakeRegistry, count: number): Handler {
  return (request, response) => {
    const digest = /sha256:[0-9a-f]{64}/.exec(request.url)?.[0] ?? '';
    const blob = registry.blobs.get(digest)!;
    const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const end = Number(/-(\d+)$/.exec(request.headers.range ?? '')?.[1] ?? blob.length - 1);
    response.writeHead(start === 0 && end === blob.length - 1 ? 200 : 206, {
      'content-length': end - start + 1,
      'content-range': `bytes ${start}-${end}/${blob.length}`,
    });
    response.write(blob.subarray(start, start + count), () => response.destroy());
  };
}

/** Cuts the connection without an answer. */
export const hangUp: Handler = (_request, response) => void response.destroy();

/** Retry quickly, so that tests of failures are not slow. */
export const quickly = {
  attempts: 5,
  refusedAttempts: 3,
  baseDelayMs: 2,
  maxDelayMs: 10,
  deadlineMs: 10_000,
};
