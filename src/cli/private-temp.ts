import { join } from 'node:path';
import { preparePrivateDirectory } from '../os/private-directory.js';

/** Where a command keeps temporary files: below the data root, that nobody else may write to. Throws what `preparePrivateDirectory` throws. */
export function privateTemp(dataRoot: string): string {
  preparePrivateDirectory(dataRoot, '--data-root');
  const path = join(dataRoot, 'tmp');
  preparePrivateDirectory(path, '--data-root');
  return path;
}
