import { createRequire } from 'node:module';

const require = createRequire(import.meta.url);

/**
 * Loads the native package `name`. `code` is what npm installs beside it for this processor with glibc, and what its loader would
 * end at after it has made Node.js report on itself, or has looked into programs and directories: of 14 ms this leaves 3. Where that
 * is not to be had, the loader decides. Throws what `require` throws.
 */
export function loadNative<T>(name: string, code: string): T {
  try {
    return createRequire(require.resolve(name))(code) as T;
  } catch {
    return require(name) as T;
  }
}
