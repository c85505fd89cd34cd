/**
 * Scopes of the token protocol (`repository:team/app:pull,push`), those of one resource made one, in the order of their first
 * appearance: some servers read only the first, so the most important comes first.
 */
export function mergeScopes(scopes: string[]): string[] {
  const merged = new Map<string, Set<string>>();
  for (const scope of scopes) {
    const colon = scope.lastIndexOf(':');
    const resource = scope.slice(0, Math.max(colon, 0));
    const actions = merged.get(resource) ?? new Set();
    for (const action of scope.slice(colon + 1).split(',')) if (action !== '') actions.add(action);
    merged.set(resource, actions);
  }
  return [...merged]
    .filter(([resource, actions]) => resource !== '' && actions.size > 0)
    .map(([resource, actions]) => `${resource}:${[...actions].join(',')}`);
}
