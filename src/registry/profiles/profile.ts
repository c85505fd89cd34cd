/** In what one kind of registry differs from the OCI distribution spec. What is left out is as the specification says. */
export interface Profile {
  /** As people call it. */
  name: string;
  /** Host names, without port, at which it is found. */
  hosts?: RegExp[];
  /** Headers of its answers by which it is known at any host: name in lower case, and what the value is like. */
  headers?: Record<string, RegExp>;
  upload?: UploadProfile;
  mount?: MountProfile;
  /** Whether it lists referrers. Default `ask`: it is asked, and the tag schema is used if it has no such API. */
  referrers?: 'ask' | 'tag';
  /** What to tell users who get this error code (or status) from it. */
  hints?: Record<string, string>;
}

interface UploadProfile {
  /** False if a blob cannot be sent by one PATCH without a length, as docker does. Default true. */
  stream?: boolean;
  /** False if a second PATCH loses or replaces the first. Default true. */
  pieces?: boolean;
  /** Bytes above which one request for a whole blob is likely to be refused. Default: no limit. */
  largestPut?: number;
}

interface MountProfile {
  /** False if a mount that names no repository is an error instead of an ordinary upload. Default true. */
  anonymous?: boolean;
}
