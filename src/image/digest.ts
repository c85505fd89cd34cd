// By itself: who only looks at a reference needs neither hashes nor schemas.

const DIGEST = /^(?:sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128})$/;

/** True for `sha256:<64 hex>` and `sha512:<128 hex>`, lower case only. */
export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}
