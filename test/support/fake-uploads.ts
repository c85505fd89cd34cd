import { createHash, randomUUID } from 'node:crypto';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { answerError, type FakeRequest } from './fake-registry.js';

/** How a registry takes uploads, where registries differ. What is left out is as the OCI distribution spec has it. */
export interface UploadTraits {
  /** What a PATCH does: appends; refuses all; appends only the first, losing or replacing it with later ones. Default `append`. */
  patch?: 'append' | 'refuse' | 'lose-later' | 'keep-last';
  /** Status of a PATCH that went well. Default 202. */
  patchStatus?: number;
  /** False: a PATCH with a Content-Length is refused with 416. */
  patchWithLength?: boolean;
  /** An upload whose connection was cut is unknown afterwards. */
  forgetsCut?: boolean;
  /** Most bytes of one request's body; above it 413. */
  largestBody?: number;
  /** OCI-Chunk-Min-Length. */
  minPiece?: number;
  /** What a mount does. Default `from`: works when `from` has the blob, is an ordinary upload otherwise. */
  mount?: 'from' | 'anonymous' | 'never' | 'needs-from' | 'error';
  /** Locations without scheme and host. */
  relative?: boolean;
}

interface Upload {
  pieces: Buffer[];
  /** What the registry says that it has; with some traits that is not true. */
  size: number;
  patches: number;
}

/** The uploads of a registry: POST, PATCH, GET, PUT and DELETE of `/v2/<name>/blobs/uploads/`. */
export class FakeUploads {
  readonly traits: UploadTraits = {};
  readonly open = new Map<string, Upload>();
  /** Uploads that were given up by DELETE. */
  cancelled = 0;
  /** Blobs of other repositories, by repository and digest; what mounts may take. */
  readonly elsewhere = new Map<string, Map<string, Buffer>>();
  readonly #blobs: Map<string, Buffer>;

  constructor(blobs: Map<string, Buffer>) {
    this.#blobs = blobs;
  }

  /** Takes the body of a PATCH as it arrives, so that what came before a cut stays. */
  receive(incoming: IncomingMessage): void {
    const { patch = 'append', forgetsCut } = this.traits;
    const id = idOf(incoming.url ?? '');
    const upload = this.open.get(id);
    if (incoming.method !== 'PATCH' || upload === undefined || this.#patchRefusal(incoming, upload)) return;
    if (patch === 'keep-last') upload.pieces = [];
    incoming.on('data', (piece: Buffer) => {
      upload.size += piece.length;
      if (patch !== 'lose-later' || upload.patches === 0) upload.pieces.push(piece);
    });
    incoming.once('end', () => {
      upload.patches++;
    });
    incoming.once('error', () => {
      if (forgetsCut) this.open.delete(id);
    });
    // Decided now: by its end the upload has moved on.
    this.#taken.add(incoming);
  }

  readonly #taken = new WeakSet<IncomingMessage>();

  serve(request: FakeRequest, response: ServerResponse, host: string) {
    const url = new URL(request.url, `http://${host}`);
    if (request.body.length > (this.traits.largestBody ?? Number.POSITIVE_INFINITY)) {
      this.open.delete(idOf(request.url));
      response.writeHead(413, { 'content-type': 'text/html' }).end('<html>too large</html>');
      return;
    }
    if (request.method === 'POST') return this.#begin(url, response);
    // Tests that answer POST themselves name places of their own.
    const own = request.method === 'PUT' ? { pieces: [], size: 0, patches: 0 } : undefined;
    const upload = this.open.get(idOf(request.url)) ?? (request.body.length > 0 ? own : undefined);
    if (upload === undefined) return answerError(response, 404, 'BLOB_UPLOAD_UNKNOWN');
    if (request.method === 'PUT') return this.#end(upload, { request, response, url });
    if (request.method === 'DELETE') {
      this.open.delete(idOf(request.url));
      this.cancelled++;
      response.writeHead(204).end();
      return;
    }
    if (request.method === 'PATCH' && !this.#taken.has(request.incoming)) {
      const [status, code] = this.#patchRefusal(request.incoming, upload) ?? [416, 'RANGE_INVALID'];
      return answerError(response, status, code);
    }
    const status = request.method === 'PATCH' ? (this.traits.patchStatus ?? 202) : 204;
    this.#place(response, { url, upload, status });
  }

  #patchRefusal({ headers }: IncomingMessage, upload: Upload): [number, string] | undefined {
    const { patch, patchWithLength = true } = this.traits;
    if (patch === 'refuse') return [405, 'UNSUPPORTED'];
    if (!patchWithLength && headers['content-length'] !== undefined) return [416, 'RANGE_INVALID'];
    const start = /^(\d+)-/.exec(headers['content-range'] ?? '')?.[1];
    return start !== undefined && Number(start) !== upload.size ? [416, 'RANGE_INVALID'] : undefined;
  }

  #begin(url: URL, response: ServerResponse) {
    const [mount, from] = [url.searchParams.get('mount'), url.searchParams.get('from')];
    const { mount: behaviour = 'from' } = this.traits;
    if (mount !== null && (behaviour === 'error' || (from === null && behaviour === 'needs-from'))) {
      return answerError(response, 400, 'NAME_INVALID');
    }
    const bytes = mount === null ? undefined : this.#findElsewhere(mount, from);
    if (mount !== null && bytes !== undefined) {
      this.#blobs.set(mount, bytes);
      response.writeHead(201, { 'docker-content-digest': mount, location: `/v2/x/blobs/${mount}` }).end();
      return;
    }
    const id = randomUUID();
    const upload = { pieces: [], size: 0, patches: 0 };
    this.open.set(id, upload);
    const place = new URL(`${url.pathname}${id}?_state=a%2Fb%3D%3D&x=+`, url);
    this.#place(response, { url: place, upload, status: 202 });
  }

  #findElsewhere(digest: string, from: string | null): Buffer | undefined {
    const { mount = 'from' } = this.traits;
    if (mount === 'never') return undefined;
    if (from !== null) return this.elsewhere.get(from)?.get(digest);
    if (mount !== 'anonymous') return undefined;
    return [...this.elsewhere.values()].find((blobs) => blobs.has(digest))?.get(digest);
  }

  #end(
    upload: Upload,
    { request, response, url }: { request: FakeRequest; response: ServerResponse; url: URL },
  ) {
    const digest = url.searchParams.get('digest') ?? '';
    const bytes = Buffer.concat([...upload.pieces, request.body]);
    if (digestOf(bytes, digest) !== digest) return answerError(response, 400, 'DIGEST_INVALID');
    this.#blobs.set(digest, bytes);
    this.open.delete(idOf(request.url));
    response.writeHead(201, { 'docker-content-digest': digest }).end();
  }

  #place(
    response: ServerResponse,
    { url, upload, status }: { url: URL; upload: Upload; status: number },
  ): void {
    const { minPiece, relative } = this.traits;
    response.writeHead(status, {
      location: relative ? `${url.pathname}${url.search}` : url.href,
      range: `0-${Math.max(0, upload.size - 1)}`,
      ...(minPiece === undefined ? {} : { 'oci-chunk-min-length': minPiece }),
    });
    response.end();
  }
}

function digestOf(bytes: Buffer, like: string): string {
  const algorithm = like.startsWith('sha512:') ? 'sha512' : 'sha256';
  return `${algorithm}:${createHash(algorithm).update(bytes).digest('hex')}`;
}

function idOf(url: string): string {
  return /\/uploads\/([^/?]+)/.exec(url)?.[1] ?? '';
}
