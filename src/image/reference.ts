import { isIPv6 } from 'node:net';
import { RafterError } from '../errors.js';
import type { Digest } from './descriptor.js';
import { isDigest } from './digest.js';
import { quoted } from './printable.js';

/** An image in a registry. */
export interface RegistryReference {
  transport: 'registry';
  /** Host and port that the API is spoken to at, e.g. `registry-1.docker.io` or `[::1]:5000`. */
  registry: string;
  repository: string;
  /** `latest` if the text had neither tag nor digest. */
  tag?: string | undefined;
  digest?: Digest | undefined;
  /** Canonical text, e.g. `docker.io/library/python:3.12`. */
  name: string;
}

/** An image in an OCI image layout: a directory, or a tar of one. */
export interface LayoutReference {
  transport: 'oci' | 'oci-archive';
  path: string;
  tag?: string | undefined;
  digest?: Digest | undefined;
}

/** An image in a tar as `docker save` writes it. */
export interface DockerArchiveReference {
  transport: 'docker-archive';
  path: string;
  /** Name and tag, as of an image in a registry; for reading also `@` and the image's place in the archive, from 0. */
  tag?: string | undefined;
}

/** Where an image is, as the user names it. */
export type ImageReference = RegistryReference | LayoutReference | DockerArchiveReference;

/** Longest repository name, in characters (OCI distribution spec asks for at most 255 with the host). */
const MAX_REPOSITORY_LENGTH = 255;
/** Host names of Docker Hub; all mean the same registry. */
const DOCKER_HUB = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);
/** Host that serves Docker Hub's API. */
const DOCKER_HUB_API = 'registry-1.docker.io';

/** Grammars of the OCI distribution spec. */
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;
const HOST_LABELS =
  /^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*$/;
/** Grammar of a reference name in an OCI layout: wider than a tag, may hold a whole reference. */
const LAYOUT_NAME =
  /^[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*(?:\/[A-Za-z0-9]+(?:(?:[-._:@+]|--)[A-Za-z0-9]+)*)*$/;

const FORMS =
  'an image is HOST[:PORT]/REPOSITORY[:TAG][@DIGEST], oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME:TAG]';

/**
 * Reads an image reference. Throws USAGE, saying what is wrong and how it is written.
 *
 * Without a host it is Docker Hub, there without a slash `library/`; without tag and digest it is `:latest`. A first
 * component is a host if it has a dot or a colon, or is `localhost`. In `oci:DIR:TAG` the first colon ends the directory,
 * as in skopeo.
 */
export function parseReference(text: string): ImageReference {
  if (text === '') throw usage('an image reference is empty', FORMS);
  if (/[\s\p{Cc}]/u.test(text)) throw usage(`${quoted(text)} has a space or control character in it`, FORMS);
  const transport = /^(oci|oci-archive|docker-archive|docker):/.exec(text)?.[1];
  if (transport === 'docker') {
    if (text.startsWith('docker://')) return splitRegistryReference(text.slice('docker://'.length), text);
    return splitRegistryReference(text, text);
  }
  if (transport === 'oci' || transport === 'oci-archive') return parseLayoutReference(text, transport);
  if (transport === 'docker-archive') return parseDockerArchive(text);
  if (/^[./~]/.test(text))
    throw usage(
      `${quoted(text)}: a path alone is not an image`,
      'write oci:DIR[:TAG], oci-archive:FILE[:TAG] or docker-archive:FILE[:NAME:TAG]',
    );
  const storage = /^(docker-daemon|containers-storage):/.exec(text)?.[1];
  if (storage !== undefined)
    throw usage(
      `${quoted(text)}: images in ${storage} cannot be read in place`,
      'write the image to a file (docker save -o FILE NAME, podman save -o FILE NAME): docker-archive:FILE',
    );
  const scheme = /^([A-Za-z][A-Za-z0-9+.-]*):\/\//.exec(text)?.[1];
  if (scheme !== undefined) {
    const hint =
      scheme === 'http' || scheme === 'https'
        ? `leave out ${scheme}://${scheme === 'http' ? '; for a registry without TLS give --plain-http' : ''}`
        : FORMS;
    throw usage(`${quoted(text)}: no transport is called ${scheme}`, hint);
  }
  return splitRegistryReference(text, text);
}

/** As `parseReference`, for what only a registry can do: USAGE with `refusal` for a reference to anything else. */
export function parseRegistryReference(text: string, refusal: string): RegistryReference {
  const reference = parseReference(text);
  if (reference.transport !== 'registry')
    throw new RafterError('USAGE', `${text}: ${refusal}`, {
      hint: 'they are written HOST[:PORT]/REPOSITORY[:TAG][@DIGEST]',
    });
  return reference;
}

/**
 * Reads the name of a registry: `HOST[:PORT]`, also as the URL that Docker writes (`https://index.docker.io/v1/`). `registry` is
 * the host that its API is spoken to at, `name` what users call it. Throws USAGE.
 */
export function parseRegistry(text: string): { registry: string; name: string } {
  const host = text.replace(/^https?:\/\//i, '').replace(/\/(?:v[12]\/?)?$/, '');
  const isPlain = host !== '' && !/[\s/@\p{Cc}]/u.test(host);
  if (!isPlain)
    throw usage(`${quoted(text)} is not a registry`, 'a registry is HOST[:PORT], without a repository');
  const lower = host.toLowerCase();
  if (DOCKER_HUB.has(lower)) return { registry: DOCKER_HUB_API, name: 'docker.io' };
  checkHost(host, text);
  return { registry: lower, name: lower };
}

/** The text that `parseReference` would read as the same reference. */
export function formatReference(reference: ImageReference): string {
  if (reference.transport === 'registry') return reference.name;
  const tag = reference.tag === undefined ? '' : `:${reference.tag}`;
  const digest = 'digest' in reference && reference.digest !== undefined ? `@${reference.digest}` : '';
  return `${reference.transport}:${reference.path}${tag}${digest}`;
}

function splitRegistryReference(rest: string, text: string): RegistryReference {
  const { before, digest } = splitDigest(rest, text);
  const { named, tag: givenTag } = splitTag(before);
  const { host, path } = splitHost(named);
  if (path === '' || (host === undefined && isServer(path, givenTag)))
    throw usage(`${quoted(text)} names no repository`, FORMS);

  const hub = host === undefined || DOCKER_HUB.has(host.toLowerCase());
  const registry = hub ? DOCKER_HUB_API : host.toLowerCase();
  if (!hub) checkHost(host, text);
  const repository = hub && !path.includes('/') ? `library/${path}` : path;
  checkRepository(repository, text);
  if (givenTag !== undefined) checkTag(givenTag, text);

  const tag = givenTag ?? (digest === undefined ? 'latest' : undefined);
  const name =
    `${hub ? 'docker.io' : registry}/${repository}` +
    `${tag === undefined ? '' : `:${tag}`}${digest === undefined ? '' : `@${digest}`}`;
  return { transport: 'registry', registry, repository, tag, digest, name };
}

function parseLayoutReference(text: string, transport: LayoutReference['transport']): LayoutReference {
  const rest = text.slice(transport.length + 1);
  const atDigest = /^(.*?)@([a-z0-9]+:[0-9a-fA-F]{32,})$/.exec(rest);
  const before = atDigest?.[1] ?? rest;
  const digest = atDigest?.[2];
  if (digest !== undefined && !isDigest(digest)) throw badDigest(digest, text);
  const place = transport === 'oci' ? 'DIR' : 'FILE';
  const { path, tag } = splitPath(before, text, `${transport}:${place}[:TAG]`);
  if (tag !== undefined && !LAYOUT_NAME.test(tag)) {
    throw usage(
      `${quoted(text)}: ${quoted(tag)} is not a valid tag`,
      `write ${transport}:${place}:TAG; ${place} must not have a colon in it`,
    );
  }
  return { transport, path, tag, digest };
}

function parseDockerArchive(text: string): DockerArchiveReference {
  const transport = 'docker-archive';
  const { path, tag } = splitPath(text.slice(transport.length + 1), text, `${transport}:FILE[:NAME:TAG]`);
  if (tag === undefined || /^@\d{1,5}$/.test(tag)) return { transport, path, tag };
  const { digest } = splitRegistryReference(tag, text);
  if (digest === undefined) return { transport, path, tag };
  throw usage(
    `${quoted(text)}: an image in a docker-archive has no digest`,
    `write ${transport}:FILE:NAME:TAG`,
  );
}

function splitPath(rest: string, text: string, form: string): { path: string; tag: string | undefined } {
  const colon = rest.indexOf(':');
  const path = colon < 0 ? rest : rest.slice(0, colon);
  const tag = colon < 0 ? undefined : rest.slice(colon + 1);
  if (path === '') throw usage(`${quoted(text)} names no path`, `write ${form}`);
  if (tag === '') throw usage(`${quoted(text)} ends in a colon without a tag`, `write ${form}`);
  return { path, tag };
}

function splitDigest(rest: string, text: string): { before: string; digest: Digest | undefined } {
  const at = rest.indexOf('@');
  if (at < 0) return { before: rest, digest: undefined };
  const digest = rest.slice(at + 1);
  if (!isDigest(digest)) throw badDigest(digest, text);
  return { before: rest.slice(0, at), digest };
}

/** A tag follows the last colon, unless that colon belongs to a port or an IPv6 address. */
function splitTag(text: string): { named: string; tag: string | undefined } {
  const colon = text.lastIndexOf(':');
  if (colon <= text.lastIndexOf('/')) return { named: text, tag: undefined };
  return { named: text.slice(0, colon), tag: text.slice(colon + 1) };
}

function splitHost(named: string): { host: string | undefined; path: string } {
  const slash = named.indexOf('/');
  const first = slash < 0 ? named : named.slice(0, slash);
  const isHost = /[.:[]/.test(first) || first === 'localhost';
  if (!isHost || slash < 0) return { host: undefined, path: named };
  return { host: first, path: named.slice(slash + 1) };
}

/** `127.0.0.1:5000` would be a tag of an image of Docker Hub; nobody who writes it means that. */
function isServer(name: string, tag: string | undefined): boolean {
  return (name === 'localhost' || name.includes('.')) && /^\d{2,5}$/.test(tag ?? '');
}

function checkHost(host: string, text: string): void {
  const match = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(host);
  const name = match?.[1] ?? '';
  const port = match?.[2];
  const validName = name.startsWith('[') ? isIPv6(name.slice(1, -1)) : HOST_LABELS.test(name);
  if (!validName) {
    throw usage(
      `${quoted(text)}: ${quoted(host)} is not a host name`,
      'a host is a name, an IPv4 address, or an IPv6 address in brackets as in [::1]:5000/app',
    );
  }
  if (port !== undefined && !(/^\d{1,5}$/.test(port) && Number(port) >= 1 && Number(port) <= 65535)) {
    throw usage(`${quoted(text)}: ${quoted(port)} is not a port`, 'a port is a number from 1 to 65535');
  }
}

function checkRepository(repository: string, text: string): void {
  if (repository.length > MAX_REPOSITORY_LENGTH) {
    throw usage(`${quoted(text)}: the repository has more than ${MAX_REPOSITORY_LENGTH} characters`, FORMS);
  }
  const bad = repository.split('/').find((component) => !COMPONENT.test(component));
  if (bad === undefined) return;
  if (/[A-Z]/.test(bad) && COMPONENT.test(bad.toLowerCase())) {
    throw usage(
      `${quoted(text)}: a repository is written in lower case`,
      `did you mean ${repository.toLowerCase()}?`,
    );
  }
  throw usage(
    `${quoted(text)}: ${quoted(bad)} is not valid in a repository name`,
    'between slashes come lower-case letters and digits, separated by one of . _ __ -',
  );
}

function checkTag(tag: string, text: string): void {
  if (TAG.test(tag)) return;
  throw usage(
    `${quoted(text)}: ${quoted(tag)} is not a valid tag`,
    'a tag has 1 to 128 letters, digits, _ . and -, and does not start with . or -',
  );
}

function badDigest(digest: string, text: string): RafterError {
  return usage(
    `${quoted(text)}: ${quoted(digest)} is not a digest`,
    'a digest is sha256: followed by 64 lower-case hexadecimal digits',
  );
}

function usage(message: string, hint: string): RafterError {
  return new RafterError('USAGE', message, { hint });
}
