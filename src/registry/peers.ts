import { isRafterError, RafterError } from '../errors.js';
import type { ReadUrgency } from '../image/source.js';
import { watchFloor } from './body-floor.js';
import type { EndpointClient, RepositoryRequest } from './endpoint-client.js';
import { DEFAULT_TIMEOUTS, type RegistryOptions, type Timeouts } from './options.js';
import { createPeerHealth } from './peer-health.js';
import { asTemporary, watchBody } from './server-faults.js';
import type { ServerAnswer } from './servers.js';
import {
  createTransport,
  describeRequest,
  discardBody,
  type HttpRequest,
  type HttpResponse,
  type Transport,
} from './transport.js';

/**
 * Stored bytes that a range costs at the registry when it is read through Dragonfly: the smallest piece that it can have. It is told to make
 * them of that size (`X-Dragonfly-Piece-Length`), as those of large blobs would be larger. If somebody else has brought a blob into the
 * cluster, its pieces may be this, doubled some times, so that a window of this size never leaves one.
 */
export const PIECE_BYTES = 4 << 20;

/** How long a peer is waited for before the registry is asked, in milliseconds: it may itself have to ask the registry for a piece first. */
const PEER_TIMEOUTS: Readonly<Timeouts> = { connectMs: 1000, answerMs: 5000, idleMs: 5000 };

/** Why a peer is asked: also whether it is well again. */
type PeerUrgency = ReadUrgency | 'probe';

/**
 * What dfdaemon is told of urgency. To its scheduler the number says who goes to the registry for a blob that nobody has yet: from 4 on the
 * seed peers, which the others wait for, often a second; 3 the first who asks, at once, from whom the others then have it
 * (Dragonfly's API, `Priority`). A start must not wait, and what is only completed takes no seed peer's time.
 */
const PRIORITIES: Readonly<Record<PeerUrgency, string>> = {
  demand: '6',
  startup: '3',
  readahead: '5',
  completion: '3',
  probe: '3',
};

/** Query parameters of signed URLs: one blob is one task, whoever signed and when. */
const SIGNATURE_PARAMETERS = [
  ...['X-Amz-Algorithm', 'X-Amz-Credential', 'X-Amz-Date', 'X-Amz-Expires', 'X-Amz-SignedHeaders'],
  ...['X-Amz-Signature', 'X-Amz-Security-Token', 'X-Amz-User-Agent', 'AWSAccessKeyId', 'OSSAccessKeyId'],
  ...['X-Goog-Algorithm', 'X-Goog-Credential', 'X-Goog-Date', 'X-Goog-Expires', 'X-Goog-SignedHeaders'],
  ...['X-Goog-Signature', 'GoogleAccessId', 'Expires', 'Signature', 'SecurityToken', 'Key-Pair-Id', 'Policy'],
  ...['sv', 'se', 'sp', 'sr', 'sig', 'st', 'spr', 'skoid', 'sktid', 'skt', 'ske', 'sks', 'skv', 'ns'],
];

/**
 * Why a peer was set aside: it did not answer, it answered with an error, its answer broke off, or brought next to nothing, its bytes
 * were wrong.
 */
export type PeerFailure = 'unreachable' | 'error' | 'broken' | 'slow' | 'wrong bytes';

/** A Dragonfly peer that blobs are read through. */
export interface Peers {
  isUp(): boolean;
  /**
   * The answer of the peer to a read of a blob, with one of the statuses `expect`. Undefined if it is to be asked elsewhere: it is no read of a
   * blob, or the peer is down or failed. Errors: INTERRUPTED.
   */
  ask(
    request: RepositoryRequest,
    expect: number[],
    client: () => Promise<EndpointClient>,
  ): Promise<ServerAnswer | undefined>;
  close(): Promise<void>;
}

/**
 * The peer whose dfdaemon has its proxy at `text`, spoken to as a mirror of the registry (`X-Dragonfly-Registry`). It asks the registry
 * with our token where it must. USAGE if `text` is not such a URL. Opens no connection.
 */
export function createPeers(text: string, options: RegistryOptions): Peers {
  const place = parsePeer(text);
  const health = createPeerHealth();
  const timeouts = shortest(options.timeouts);
  let opened: Promise<Transport> | undefined;

  const tell = (reason: PeerFailure) => {
    if (health.failed({ isGrave: reason === 'wrong bytes' }) || reason === 'wrong bytes')
      options.onTraffic?.({ kind: 'peer failed', reason });
  };

  /** Sends a request for the registry to the peer instead; the answer is as if it were the registry's. */
  function carrier(urgency: PeerUrgency, failed: () => void): Transport['send'] {
    return async (message) => {
      try {
        opened ??= createTransport({ timeouts, env: {} });
        const response = await (await opened).send(carriedBy(place, message, urgency));
        return { ...response, url: message.url };
      } catch (error) {
        if (!message.signal?.aborted) failed();
        throw error;
      }
    };
  }

  async function ask(
    request: RepositoryRequest,
    expect: number[],
    client: EndpointClient,
  ): Promise<ServerAnswer | undefined> {
    const { signal, urgency = 'demand' } = request;
    let response: HttpResponse;
    try {
      response = await client.send(
        request,
        carrier(urgency, () => tell('unreachable')),
      );
    } catch (error) {
      if (signal?.aborted) throw error;
      return undefined;
    }
    if (response.status >= 300 || !expect.includes(response.status)) {
      await discardBody(response);
      if (!isRegistrysOwn(response)) tell('error');
      return undefined;
    }
    let isBroken = false;
    watchBody(response.body, () => {
      isBroken = true;
      tell('broken');
    });
    response.body.once('close', () => {
      if (!isBroken && !response.body.errored) health.served();
    });
    const wasThere = response.headers['x-dragonfly-task-download-finished'] === 'true';
    const asked = describeRequest('GET', response.url);
    const what = `${asked} through the Dragonfly peer ${place.host}`;
    const floor = watchFloor(response.body, {
      windowMs: timeouts.idleMs,
      onSlow() {
        tell('slow');
        return new RafterError('UNAVAILABLE', `${what}: hardly any bytes come`, { temporary: true });
      },
    });
    return {
      response,
      request: asked,
      fault(error) {
        if (isRafterError(error, 'INTERRUPTED')) return error;
        tell(isRafterError(error, 'DIGEST_MISMATCH') ? 'wrong bytes' : 'broken');
        return asTemporary(error, what, `the Dragonfly peer ${place.host}`);
      },
      arrived(count) {
        floor.note(count);
        options.onTraffic?.({ kind: 'bytes', from: 'peers', count, wasThere });
      },
    };
  }

  /** Asks for one byte where a reader just asked the registry: the piece it is in is wanted anyway. */
  async function probe(request: RepositoryRequest, client: EndpointClient): Promise<boolean> {
    const start = /^bytes=(\d+)-/.exec(request.headers?.range ?? '')?.[1] ?? '0';
    const { signal: _, ...rest } = request;
    const headers = { ...request.headers, range: `bytes=${start}-${start}` };
    const response = await client.send(
      { ...rest, headers },
      carrier('probe', () => {}),
    );
    await discardBody(response);
    return response.status === 206 || isRegistrysOwn(response);
  }

  return {
    isUp: health.isUp,
    async ask(request, expect, client) {
      if (request.isDirect || !isBlobRead(request)) return undefined;
      if (health.isUp()) return ask(request, expect, await client());
      if (health.mayProbe())
        void client()
          .then((one) => probe(request, one))
          .catch(() => false)
          .then(health.probed);
      return undefined;
    },
    async close() {
      await (await opened?.catch(() => undefined))?.close();
    },
  };
}

/** The URL of a Dragonfly peer: HTTP or HTTPS, a host, nothing else. Throws USAGE. */
function parsePeer(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url && url.pathname === '/' && url.search === '' && url.hash === '';
  if (isPlain && url.username === '' && url.password === '' && /^https?:$/.test(url.protocol)) return url;
  throw new RafterError('USAGE', 'the Dragonfly peer must be given as http://HOST:PORT', {
    hint: 'it is the proxy port of dfdaemon, e.g. http://127.0.0.1:4001',
  });
}

function isBlobRead({ method, access, path }: RepositoryRequest): boolean {
  return method === 'GET' && access === 'pull' && path !== undefined && /^blobs\/[^/]*:/.test(path);
}

/**
 * True if the peer is well and passes on a refusal of the registry's. With a status of 500 and more it says that it cannot reach the
 * registry, or that the registry fails: as good as no peer.
 */
function isRegistrysOwn({ status, headers }: HttpResponse): boolean {
  return headers['x-dragonfly-error-type'] === 'backend' && status >= 400 && status < 500;
}

/** `message` in dfdaemon's registry-mirror form (Dragonfly's client, proxy headers). */
function carriedBy(place: URL, message: HttpRequest, urgency: PeerUrgency): HttpRequest {
  const { url } = message;
  return {
    ...message,
    url: new URL(url.pathname + url.search, place),
    privateHeaders: {
      ...message.privateHeaders,
      'x-dragonfly-registry': url.origin,
      'x-dragonfly-use-p2p': 'true',
      'x-dragonfly-priority': PRIORITIES[urgency],
      // All of it is wanted, in time, and peers give a blob to each other only whole.
      ...(urgency === 'completion' && { 'x-dragonfly-prefetch': 'true' }),
      'x-dragonfly-piece-length': `${PIECE_BYTES >> 20}mib`,
      'x-dragonfly-tag': 'rafter',
      'x-dragonfly-application': 'rafter',
      'x-dragonfly-enable-task-id-based-blob-digest': 'true',
      'x-dragonfly-filtered-query-params': SIGNATURE_PARAMETERS.join(','),
    },
  };
}

function shortest(asked: Partial<Timeouts> = {}): Timeouts {
  const { connectMs, answerMs, idleMs } = { ...DEFAULT_TIMEOUTS, ...asked };
  return {
    connectMs: Math.min(connectMs, PEER_TIMEOUTS.connectMs),
    answerMs: Math.min(answerMs, PEER_TIMEOUTS.answerMs),
    idleMs: Math.min(idleMs, PEER_TIMEOUTS.idleMs),
  };
}
