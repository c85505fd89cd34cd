/** One server that answers for a repository: its registry or a mirror of that. */
export interface Endpoint {
  /** Where its API begins, without a slash at the end: `https://registry.example.com/v2`. */
  api: URL;
  /** The repository's name there; a mirror may keep it elsewhere. */
  repository: string;
  isMirror: boolean;
  /** What a mirror is asked for. The registry itself is always asked for everything. */
  reads: { byTag: boolean; byDigest: boolean };
  /** The registry that a mirror is asked for, as its `ns` parameter (containerd's convention for mirrors of many registries). */
  namespace?: string | undefined;
  /** Sent with each request to this server and to no other. */
  headers: Record<string, string>;
  tls: TlsSettings;
  /** The machine's configuration allows HTTP if the server turns out not to speak TLS (`insecure` of registries.conf). */
  mayBePlain?: boolean | undefined;
  /** Milliseconds until a connection must stand, instead of the general limit. */
  connectMs?: number | undefined;
}

/** How one server proves who it is, and who we are to it. All are paths of PEM files. */
export interface TlsSettings {
  /** Certificate authorities besides those that are trusted everywhere. */
  ca: string[];
  /** Client certificates; both may be in one file. */
  clients: { cert: string; key: string }[];
  /** Believe any certificate. */
  skipVerify: boolean;
}

/** Nothing but what is trusted everywhere. */
export const NO_TLS_SETTINGS: TlsSettings = { ca: [], clients: [], skipVerify: false };

/** An endpoint that is asked for everything, in the usual way. */
export function plainEndpoint(api: URL, repository: string): Endpoint {
  return {
    api,
    repository,
    isMirror: false,
    reads: { byTag: true, byDigest: true },
    headers: {},
    tls: NO_TLS_SETTINGS,
  };
}
