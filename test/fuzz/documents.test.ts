import { parseImageConfig } from '../../src/image/config.js';
import { parseManifest } from '../../src/image/manifest.js';
import { golden } from '../image/golden.js';
import { fuzz } from '../support/fuzz.js';
import { mutate, mutateJson, pick, type Random } from '../support/mutate.js';

/** Damage to the bytes, or to what they mean. */
function damaged(document: Buffer, next: Random): Buffer {
  if (next(3) === 0) return mutate(document, next);
  const value = JSON.parse(document.toString());
  return Buffer.from(JSON.stringify(mutateJson(next(3) === 0 ? mutateJson(value, next) : value, next)));
}

function fuzzDocuments(
  title: string,
  files: string[],
  parse: (bytes: Buffer, name: string) => unknown,
): void {
  const documents = files.map(golden);
  fuzz(title, {
    name: 'the document',
    run: (next) => void parse(damaged(pick(documents, next), next), 'the document'),
  });
}

fuzzDocuments('damaged manifests', ['source-manifest.raw', 'nydus-manifest.raw'], parseManifest);
fuzzDocuments('damaged indexes', ['merged-index.raw'], parseManifest);
fuzzDocuments('damaged configs', ['source-config.raw', 'nydus-config.raw'], parseImageConfig);
