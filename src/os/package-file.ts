/**
 * The file at `path` in this package. It works in sources, in the compiled program and in the bundle alike, because this folder and that of
 * the bundle lie equally deep.
 */
export function packageFile(path: string): URL {
  return new URL(`../../${path}`, import.meta.url);
}
