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
}
