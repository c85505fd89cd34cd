import * as v from 'valibot';
import { RafterError } from '../../errors.js';
import { checkShape, parseJson } from '../json.js';
import { MAX_LAYERS, MAX_MANIFEST_SIZE } from '../manifest.js';
import { printable } from '../printable.js';
import { parseReference } from '../reference.js';

/** The file that lists the images of an archive (Docker image spec 1.2, combined image JSON and file system changeset format). */
export const DOCKER_MANIFEST_FILE = 'manifest.json';
/** Most images of one archive. */
export const MAX_ARCHIVE_IMAGES = 4096;

const schema = v.pipe(
  v.array(
    v.object({
      Config: v.pipe(v.string(), v.minLength(1)),
      RepoTags: v.nullish(v.array(v.string())),
      Layers: v.nullish(v.pipe(v.array(v.string()), v.maxLength(MAX_LAYERS))),
    }),
  ),
  v.maxLength(MAX_ARCHIVE_IMAGES),
);

/** One image of the archive: names of its files, and those it has in a registry. */
export interface DockerArchiveImage {
  config: string;
  /** Lowest first. */
  layers: string[];
  repoTags: string[];
}

/** Parses a manifest.json. MALFORMED or LIMIT_EXCEEDED, naming `name` and the field. */
export function parseDockerManifest(bytes: Buffer, name: string): DockerArchiveImage[] {
  const images = checkShape(schema, parseJson(bytes, MAX_MANIFEST_SIZE, name), name);
  return images.map(({ Config, RepoTags, Layers }) => ({
    config: Config,
    layers: Layers ?? [],
    repoTags: RepoTags ?? [],
  }));
}

/** The manifest.json of an archive with one image; `repoTag` is its canonical name. */
export function buildDockerManifest({ config, layers, repoTags }: DockerArchiveImage): Buffer {
  return Buffer.from(JSON.stringify([{ Config: config, RepoTags: repoTags, Layers: layers }]));
}

/**
 * The image that `wanted` names: one of its names, with or without what Docker leaves out (`docker.io/library/`, `:latest`), or
 * `@` and its place; if undefined, the only image. NOT_FOUND or USAGE, listing what there is; `archive` is the file's path.
 */
export function selectImage(
  images: DockerArchiveImage[],
  wanted: string | undefined,
  archive: string,
): DockerArchiveImage {
  if (wanted === undefined) {
    const [first, ...others] = images;
    if (first === undefined) throw new RafterError('NOT_FOUND', `${archive}: the archive holds no image`);
    if (others.length === 0) return first;
    throw new RafterError('USAGE', `${archive}: the archive holds ${images.length} images`, {
      hint: `name one as docker-archive:FILE:NAME:TAG; ${listNames(images)}`,
    });
  }
  const found = wanted.startsWith('@')
    ? images[Number(wanted.slice(1))]
    : images.find(({ repoTags }) => repoTags.some((tag) => canonicalName(tag) === canonicalName(wanted)));
  if (found !== undefined) return found;
  throw new RafterError('NOT_FOUND', `${archive}: no image is called ${wanted}`, { hint: listNames(images) });
}

/** `docker.io/library/x:latest` for `x`. What is no such name stays as it is. */
export function canonicalName(text: string): string {
  try {
    const reference = parseReference(text);
    return reference.transport === 'registry' ? reference.name : text;
  } catch {
    return text;
  }
}

function listNames(images: DockerArchiveImage[]): string {
  const names = images.map(({ repoTags }, i) => printable(repoTags[0] ?? `@${i}`));
  const shown = names.slice(0, 20).join(', ');
  return `it has ${shown}${names.length > 20 ? ` and ${names.length - 20} more` : ''}`;
}
