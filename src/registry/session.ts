import type { RegistryReference } from '../image/reference.js';
import type { CredentialLookup } from './credentials.js';
import type { EndpointClient, RepositoryRequest } from './endpoint-client.js';
import { parseErrors, RegistryError } from './error.js';
import { findEndpoints } from './hosts/find-endpoints.js';
import { originApi } from './hosts/origin.js';
import { familiarHost } from './hosts/server-name.js';
import type { RegistryOptions } from './options.js';
import { createPeers, PIECE_BYTES } from './peers.js';
import { isHintMissing, profileByHost, profileHint, refineProfile } from './profiles/index.js';
import type { Profile } from './profiles/profile.js';
import { DEFAULT_RETRY, type RetryPolicy, withRetry } from './retry.js';
import { createServers, type ServerAnswer, type Servers } from './servers.js';
import { createTransport, discardBody, type HttpResponse, readBody, type Transport } from './transport.js';
import { warningTeller } from './warnings.js';

/** Most bytes of an error answer that are looked at. */
const MAX_ERROR_BODY = 64 << 10;
/** How long a registry may take to say what it is, in milliseconds. */
const PING_MS = 3000;

type SessionRequest = RepositoryRequest & {
  /** Statuses that are an answer; every other one is thrown as a RegistryError. */
  expect: number[];
};

/** An answer of the registry or of one of its mirrors. Whoever finds it wrong throws what its `fault` returns. */
export type SessionResponse = HttpResponse & Omit<ServerAnswer, 'response'>;

/** Requests to one repository, authenticated. Blobs and manifests are built on it. */
export interface Session {
  /** `host/repository`, for messages. */
  readonly name: string;
  readonly policy: RetryPolicy;
  /**
   * A blob of `size` bytes is to be read through peers. Those pass on to each other only what is larger than a piece: of the rest they
   * are a detour to the registry.
   */
  hasPeersFor(size: number): boolean;
  /** See ImageSource.pieceBytes. */
  readonly pieceBytes: number | undefined;
  /**
   * One request, repeated at most once with a new token after a 401, and at the peers and at each mirror that are asked before
   * the registry.
   * Errors: RegistryError, UNAVAILABLE, INTERRUPTED.
   */
  send(request: SessionRequest): Promise<SessionResponse>;
  /** Repeats `work` after temporary errors. */
  retry<T>(work: () => Promise<T>, signal: AbortSignal | undefined): Promise<T>;
  /** Opens `count` connections for requests that will come soon. What goes wrong shows with those. */
  openSpares(count: number): void;
  close(): Promise<void>;
}

/** A session for the repository of `reference`. Opens no connection. USAGE if options contradict each other. */
export function openSession(reference: RegistryReference, options: RegistryOptions): Session {
  const { registry, repository } = reference;
  originApi(registry, options);
  const name = `${registry}/${repository}`;
  const policy = { ...DEFAULT_RETRY, ...options.retry };
  const tellWarnings = warningTeller(registry, options.onWarning);
  const peers = options.p2p === undefined ? undefined : createPeers(options.p2p, options);
  let parts: Promise<{ transport: Transport; servers: Servers }> | undefined;

  async function open() {
    const endpoints = await findEndpoints(reference, options);
    const transport = await createTransport(options, endpoints);
    return { transport, servers: createServers({ endpoints, transport, options, refusal, peers }) };
  }

  function openParts() {
    parts ??= open().catch((error) => {
      // A file may be mended until the next request.
      parts = undefined;
      throw error;
    });
    return parts;
  }

  return {
    name,
    policy,
    hasPeersFor: (size) => peers !== undefined && (options.p2pSmallBlobs === true || size > PIECE_BYTES),
    get pieceBytes() {
      return peers?.isUp() ? PIECE_BYTES : undefined;
    },
    async send({ expect, ...request }) {
      const { servers } = await openParts();
      const { response, ...rest } = await servers.ask(request, expect);
      tellWarnings(response.headers);
      return { ...response, ...rest };
    },
    openSpares(count) {
      // The largest blob comes from the peers, through a connection of its own.
      const wanted = peers === undefined ? count : count - 1;
      if (wanted === 0) return;
      const opening = openParts().then(({ servers }) => servers.openSpares(wanted));
      opening.catch(() => {});
    },
    retry: (work, signal) => withRetry(work, { policy, signal, name }),
    async close() {
      await (await parts?.catch(() => undefined))?.transport.close();
      await peers?.close();
    },
  };
}

async function refusal(what: string, response: HttpResponse, client: EndpointClient): Promise<RegistryError> {
  const { endpoint, lookup } = client;
  const body = await readBody(response, MAX_ERROR_BODY, what).catch(() => Buffer.alloc(0));
  const { status, headers } = response;
  const text = body.toString('utf8');
  const denial = status === 401 || status === 403 ? await denialHint(endpoint.api.host, lookup) : undefined;
  const answer = { status, codes: parseErrors(text).map(({ code }) => code) };
  let profile = refineProfile(profileByHost(endpoint.api.host), headers);
  if (isHintMissing(profile, answer)) {
    const url = new URL(`${endpoint.api}/`);
    const signal = AbortSignal.timeout(PING_MS);
    profile = await pingedProfile(profile, () => client.send({ method: 'GET', url, access: 'pull', signal }));
  }
  const known = profileHint(profile, answer);
  const hint = [denial, known].filter((one) => one !== undefined).join('; ');
  return new RegistryError(what, { status, headers, body: text }, hint || undefined);
}

/** `profile`, or what the answer to `ping` gives away: some registries say only there what they are. No answer changes nothing. */
export async function pingedProfile(profile: Profile, ping: () => Promise<HttpResponse>): Promise<Profile> {
  try {
    const response = await ping();
    await discardBody(response);
    return refineProfile(profile, response.headers);
  } catch {
    return profile;
  }
}

async function denialHint(host: string, lookup: CredentialLookup): Promise<string> {
  const login = await lookup().catch(() => undefined);
  return login === undefined
    ? `no log-in for ${host} was found: try rafter login ${familiarHost(host)}; or the repository does not exist`
    : `the log-in for ${host} was refused, or it has no right to this`;
}
