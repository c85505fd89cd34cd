/** In what one kind of registry differs from the OCI distribution spec. What is left out is as the specification says. */
export interface Profile {
  /** As people call it. */
  name: string;
  /** Host names, without port, at which it is found. */
  hosts?: RegExp[];
  /** Headers of its answers by which it is known at any host: name in lower case, and what the value is like. */
  headers?: Record<string, RegExp>;
  /** Only the answer to a ping (GET of the API's root) has those headers. Default false: any answer may. */
  isSeenByPing?: boolean;
  upload?: UploadProfile;
  mount?: MountProfile;
  /** False: it is known to have no API for referrers and may answer with anything; the tag schema is used. Default true: it is asked. */
  referrers?: boolean;
  /** What to tell users who get this error code or status from it, in order. */
  hints?: [code: string | number, hint: string][];
}

interface UploadProfile {
  /** False if a blob cannot be sent by one PATCH without a length, as docker does. Default true. */
  stream?: boolean;
  /** False if a second PATCH is refused, or loses or replaces what the first one sent. Default true. */
  pieces?: boolean;
  /** Bytes above which one request with a whole blob is likely to be refused. Default: no limit. */
  largestPut?: number;
}

interface MountProfile {
  /** False if a mount that names no repository is an error, or never works, instead of an ordinary upload. Default true. */
  anonymous?: boolean;
}
