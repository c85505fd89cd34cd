/** Docker Hub's names, and the key that `docker login` stores its credentials under. */
const HUB_HOSTS = ['docker.io', 'index.docker.io', 'registry-1.docker.io'];
const HUB_KEY = 'https://index.docker.io/v1/';

/** The names under which a log-in to `registry` (API host) may be kept, the usual one first. */
export function hostNames(registry: string): [string, ...string[]] {
  return HUB_HOSTS.includes(registry) ? [HUB_KEY, ...HUB_HOSTS] : [registry];
}

/** The keys of a log-in to all of `registry` in a configuration file, in order of preference. */
export function hostKeys(registry: string): string[] {
  const names = hostNames(registry);
  const schemes = ['https://', 'http://'];
  const ends = ['', '/', '/v1/', '/v2/', '/v1', '/v2'];
  return [
    ...names,
    ...plainNames(registry).flatMap((host) =>
      schemes.flatMap((scheme) => ends.map((end) => `${scheme}${host}${end}`)),
    ),
  ];
}

/** Keys in order of preference: `host/a/b`, `host/a`, then those of the whole host. */
export function repositoryKeys(registry: string, repository: string): string[] {
  const parts = repository.split('/');
  const paths = parts.map((_, i) => `/${parts.slice(0, parts.length - i).join('/')}`);
  const narrow = paths.flatMap((path) => plainNames(registry).map((host) => `${host}${path}`));
  return [...narrow, ...hostKeys(registry)];
}

function plainNames(registry: string): string[] {
  return hostNames(registry).filter((name) => !name.includes('://'));
}
