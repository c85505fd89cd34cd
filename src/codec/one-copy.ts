/** The last bytes of each name that somebody still holds. */
const kept = new Map<string, WeakRef<Buffer>>();
const gone = new FinalizationRegistry<string>((name) => {
  if (kept.get(name)?.deref() === undefined) kept.delete(name);
});

/**
 * The same bytes as `bytes`: those that came under this `name` before, if they are equal and somebody still holds them, else `bytes`
 * itself. For what many images say alike of a blob that they share, and what is never written to: it stays in memory once, not
 * once for each image. Whoever says something else under the same name only shares nothing.
 */
export function oneCopy(name: string, bytes: Buffer): Buffer {
  const before = kept.get(name)?.deref();
  if (before?.equals(bytes)) return before;
  kept.set(name, new WeakRef(bytes));
  gone.register(bytes, name);
  return bytes;
}
