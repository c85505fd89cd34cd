import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const require = createRequire(import.meta.url);

/**
 * Loads the native package `name`. `code` is what npm installs beside it for this processor with glibc, and what its loader would
 * end at after it has made Node.js report on itself, or has looked into programs and directories: of 14 ms this leaves 3. Where that
 * is not to be had, the loader decides. Throws what `require` throws.
 */
export function loadNative<T>(name: string, code: string): T {
  try {
    const place = findBeside(name, code);
    return (place === undefined ? createRequire(require.resolve(name))(code) : require(place)) as T;
  } catch {
    return require(name) as T;
  }
}

/**
 * Where `require` in the package `name` would find `code`, unless one of them is linked in from elsewhere: undefined. Node.js itself
 * takes 5 ms to resolve its first package.
 */
function findBeside(name: string, code: string): string | undefined {
  for (let at = dirname(fileURLToPath(import.meta.url)); ; at = dirname(at)) {
    const folder = join(at, 'node_modules');
    if (existsSync(join(folder, name)))
      return [join(folder, name, 'node_modules', code), join(folder, code)].find((path) => existsSync(path));
    if (at === dirname(at)) return undefined;
  }
}
