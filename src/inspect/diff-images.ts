import { isNydusManifest } from '../image/nydus-manifest.js';
import { findManifestOf } from '../image/read-manifest.js';
import type { ImageSource } from '../image/source.js';
import { type Change, type ChunkForm, type ComparedTree, compareTrees, differencesText } from './compare.js';
import { compareNydus, formOf } from './compared-image.js';
import { compareLayers } from './compared-layers.js';
import type { FaultList } from './faults.js';
import { type OpenImage, openManifest } from './open-image.js';

export interface DiffOptions {
  /** `linux/arm64`; which images of indexes. Default: this machine's. */
  platform?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** How contents are compared where no image says how. */
const DEFAULT_FORM: ChunkForm = { chunkSize: 1 << 20, digester: 'blake3' };

/** An image of either kind whose names can be compared. */
interface Comparable {
  digest: string;
  /** Of a converted image. */
  form: ChunkForm | undefined;
  tree(form: ChunkForm): Promise<ComparedTree>;
}

/**
 * What is different in the trees of two images, converted or ordinary. File contents are compared by chunk digests where both
 * images have them in one form; else the files are read. Throws what sources and readers throw.
 */
export async function diffImages(
  before: ImageSource,
  after: ImageSource,
  options: DiffOptions = {},
): Promise<Change[]> {
  const first = await openEither(before, options);
  const second = await openEither(after, options);
  if (first.digest === second.digest) return [];
  const form = first.form ?? second.form ?? DEFAULT_FORM;
  return compareTrees(await first.tree(form), await second.tree(form), form);
}

/** Reports every name in which a converted image is not what the layers of its source give. */
export async function checkAgainstSource(
  image: OpenImage,
  original: ImageSource,
  { faults, platform, signal }: DiffOptions & { faults: FaultList },
): Promise<void> {
  const form = formOf(image);
  const { manifest } = await findManifestOf(original, await original.resolve(signal), {
    platform,
    prefer: 'plain',
    signal,
  });
  const expected = await compareLayers(original, manifest, { form, signal });
  const changes = await faults.guard('content', async () =>
    compareTrees(expected, compareNydus(image, form, signal), form),
  );
  for (const { path, kind, differences } of changes ?? []) {
    const message = {
      removed: 'it is in the source, but not in the image',
      added: 'it is not in the source',
      changed: `source -> image: ${differencesText(differences)}`,
    }[kind];
    faults.add('content', message, { path: Buffer.from(path, 'latin1').toString() });
  }
}

async function openEither(source: ImageSource, options: DiffOptions): Promise<Comparable> {
  const { signal } = options;
  const found = await findManifestOf(source, await source.resolve(signal), options);
  const { digest } = found.descriptor;
  if (isNydusManifest(found.manifest)) {
    const image = await openManifest(source, found, signal);
    return { digest, form: formOf(image), tree: async (form) => compareNydus(image, form, signal) };
  }
  const tree = (form: ChunkForm) => compareLayers(source, found.manifest, { form, signal });
  return { digest, form: undefined, tree };
}
