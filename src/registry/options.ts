import type { HostPlaces } from './hosts/places.js';
import type { PeerFailure } from './peers.js';
import type { RetryPolicy } from './retry.js';

/** A user name and password, as Basic authentication and token servers take them. */
interface Credentials {
  username: string;
  password: string;
}

/** How a registry is spoken to. Every member may be left out. */
export interface RegistryOptions {
  /**
   * Speak HTTP without TLS: to every registry, or to those in a list, each as HOST or HOST:PORT. Only loopback addresses are
   * spoken to like that without being told.
   */
  plainHttp?: boolean | readonly string[] | undefined;
  /** PEM file with certificate authorities to trust besides the usual ones. */
  caFile?: string | undefined;
  /** PEM files of a client certificate and its key; both or neither. */
  certFile?: string | undefined;
  keyFile?: string | undefined;
  /** Used instead of all that is configured on this machine. */
  credentials?: Credentials | undefined;
  /** Path of Docker's config.json, instead of $DOCKER_CONFIG/config.json or ~/.docker/config.json. */
  dockerConfig?: string | undefined;
  /** How temporary failures are repeated; members left out have the defaults of DEFAULT_RETRY. */
  retry?: Partial<RetryPolicy> | undefined;
  timeouts?: Partial<Timeouts> | undefined;
  /**
   * URL of a Dragonfly peer (dfdaemon's proxy port) that blobs are read through, `http://127.0.0.1:4001`. It is done without where it
   * does not serve.
   */
  p2p?: string | undefined;
  /** Read through it, too, what is no larger than a piece (`PIECE_BYTES`), which peers do not pass on to each other. Default false. */
  p2pSmallBlobs?: boolean | undefined;
  /** Hears what came of reading blobs. */
  onTraffic?: ((event: Traffic) => void) | undefined;
  /** Hears what a registry wants its users to know, as one line. */
  onWarning?: ((text: string) => void) | undefined;
  /** Where this machine's configuration of hosts is; members left out have their usual places. */
  places?: Partial<HostPlaces> | undefined;
  /** Environment with proxies, places and log-ins. Default: this process'. */
  env?: NodeJS.ProcessEnv | undefined;
}

/**
 * Bytes of blobs as they arrive, and from where: through the Dragonfly peer, or from the registry or its mirrors. Or the peer failed.
 * `wasThere`: the peer said that it need not fetch the blob.
 */
export type Traffic =
  | { kind: 'bytes'; from: 'peers' | 'registry'; count: number; wasThere?: boolean }
  | { kind: 'peer failed'; reason: PeerFailure };

/** Milliseconds. */
export interface Timeouts {
  /** Until a connection stands, TLS included. */
  connectMs: number;
  /** From the end of a request to the beginning of its answer. */
  answerMs: number;
  /** Between two pieces of a body, in either direction. */
  idleMs: number;
}

/** Defaults: long enough for a slow registry's commit of a large blob, short enough that a dead one is noticed. */
export const DEFAULT_TIMEOUTS: Timeouts = { connectMs: 10_000, answerMs: 60_000, idleMs: 30_000 };
