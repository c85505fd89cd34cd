/** Calls `bind`, which loads a library and names its functions, when it is needed first; undefined, from then on, if it throws. */
export function optionalLibrary<T>(bind: () => T): () => T | undefined {
  let bound: { functions: T | undefined } | undefined;
  return () => {
    bound ??= { functions: orNothing(bind) };
    return bound.functions;
  };
}

function orNothing<T>(bind: () => T): T | undefined {
  try {
    return bind();
  } catch {
    return undefined;
  }
}
