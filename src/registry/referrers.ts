import { isRafterError, RafterError } from '../errors.js';
import { algorithmOf, type Descriptor, type Digest, hexOf } from '../image/descriptor.js';
import { type Index, MAX_INDEX_ENTRIES, MAX_MANIFEST_SIZE, parseManifest } from '../image/manifest.js';
import { OCI_INDEX } from '../image/media-types.js';
import { RegistryError } from './error.js';
import { getManifest } from './manifests.js';
import type { Profile } from './profiles/profile.js';
import type { Session, SessionResponse } from './session.js';
import { readBody } from './transport.js';

/** Most pages of one list. */
const MAX_PAGES = 256;

/** What refers to a manifest, and how the registry keeps that. */
export interface Referrers {
  /** `api`: the registry lists them; `tag`: clients keep an index under a tag (OCI distribution spec, referrers tag schema). */
  by: 'api' | 'tag';
  descriptors: Descriptor[];
}

export interface ReferrersOptions {
  profile: Profile;
  /** Only those of this type. */
  artifactType?: string | undefined;
  signal?: AbortSignal | undefined;
}

/** The tag under which clients keep what refers to `digest` where the registry does not: `sha256-` and at most 64 of its hex digits. */
export function referrersTag(digest: Digest): string {
  return `${algorithmOf(digest)}-${hexOf(digest).slice(0, 64)}`;
}

/** Everything that refers to the manifest `digest` as its subject, whether that manifest exists or not. */
export async function listReferrers(
  session: Session,
  digest: Digest,
  options: ReferrersOptions,
): Promise<Referrers> {
  const { profile, artifactType, signal } = options;
  const listed = profile.referrers === false ? undefined : await askForReferrers(session, digest, options);
  const { descriptors, by } = listed
    ? { descriptors: listed, by: 'api' as const }
    : { descriptors: (await getReferrersTag(session, digest, signal)).manifests, by: 'tag' as const };
  const wanted = descriptors.filter((one) => artifactType === undefined || one.artifactType === artifactType);
  return { by, descriptors: wanted };
}

/** The index under the referrers tag of `digest`, with its own digest; an empty one if there is none. MALFORMED if the tag is something else. */
export async function getReferrersTag(
  session: Session,
  digest: Digest,
  signal?: AbortSignal,
): Promise<{ manifests: Descriptor[]; index?: Index; digest?: Digest }> {
  const tag = referrersTag(digest);
  try {
    const { bytes, descriptor } = await getManifest(session, tag, signal);
    const index = parseManifest(bytes, `${session.name}:${tag}`, descriptor.mediaType);
    if (index.kind === 'index') return { manifests: index.manifests, index, digest: descriptor.digest };
  } catch (error) {
    if (isRafterError(error, 'NOT_FOUND')) return { manifests: [] };
    throw error;
  }
  throw new RafterError(
    'MALFORMED',
    `${session.name}:${tag}: the list of what refers to ${hexOf(digest).slice(0, 12)} is no index`,
  );
}

/** undefined if the registry has no such list: it says 404, or whatever it says to requests that it does not know. */
async function askForReferrers(
  session: Session,
  digest: Digest,
  { artifactType, signal }: ReferrersOptions,
): Promise<Descriptor[] | undefined> {
  const filter = artifactType === undefined ? '' : `?artifactType=${encodeURIComponent(artifactType)}`;
  let path: string | undefined = `referrers/${digest}${filter}`;
  const found: Descriptor[] = [];
  for (let pages = 0; path !== undefined; pages++) {
    if (pages === MAX_PAGES || found.length > MAX_INDEX_ENTRIES) {
      throw new RafterError(
        'LIMIT_EXCEEDED',
        `${session.name}: the list of what refers to ${digest} has no end`,
      );
    }
    const page = await getPage(session, path, { isFirst: pages === 0, signal });
    if (page === undefined) return undefined;
    found.push(...page.descriptors);
    path = page.next;
  }
  return found;
}

/** Undefined only for the first page: with the others missing, the list would look whole. */
async function getPage(
  session: Session,
  path: string,
  { isFirst, signal }: { isFirst: boolean; signal: AbortSignal | undefined },
): Promise<{ descriptors: Descriptor[]; next: string | undefined } | undefined> {
  return session.retry(async () => {
    try {
      const response = await session.send({
        method: 'GET',
        path,
        headers: { accept: OCI_INDEX },
        access: 'pull',
        expect: [200],
        signal,
      });
      const bytes = await readBody(response, MAX_MANIFEST_SIZE, response.request);
      const type = String(response.headers['content-type'] ?? '').split(';')[0];
      // A page for people, where a redirect has led.
      const index = type === 'text/html' ? undefined : parseManifest(bytes, response.request, OCI_INDEX);
      if (index?.kind === 'index')
        return { descriptors: index.manifests, next: nextPage(response.headers.link, response) };
      if (isFirst) return undefined;
      throw new RafterError('MALFORMED', `${response.request}: no page of a list of referrers`);
    } catch (error) {
      // 404 by the specification, but also 400, 403, 405 and others; a log-in that is missing shows with the tag.
      if (isFirst && error instanceof RegistryError && !error.temporary) return undefined;
      throw error;
    }
  }, signal);
}

/**
 * Of `Link: </v2/NAME/referrers/DIGEST?...>; rel="next"` (RFC 8288) the part from `referrers/` on, so that it leads to no other server.
 * MALFORMED for a next page of something else.
 */
function nextPage(
  link: string | string[] | undefined,
  { url, request }: Pick<SessionResponse, 'url' | 'request'>,
): string | undefined {
  const [, target] = /<([^>]*)>\s*;[^,]*rel="?next"?/i.exec([link ?? []].flat().join(', ')) ?? [];
  if (target === undefined) return undefined;
  const { pathname, search } = URL.canParse(target, url.href)
    ? new URL(target, url)
    : { pathname: '', search: '' };
  const path = /\/(referrers\/[^/]+)$/.exec(pathname)?.[1];
  if (path !== undefined) return `${path}${search}`;
  throw new RafterError('MALFORMED', `${request}: the Link to the next page leads elsewhere`);
}
