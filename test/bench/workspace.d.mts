export function withWorkspace<T>(
  work: (dir: string, later: (step: () => unknown) => void) => Promise<T>,
  parent?: string,
): Promise<T>;
