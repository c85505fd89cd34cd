/** Parser of an option that may be given more than once: appends `value` to the values `before` it. */
export function repeatable(value: string, before: readonly string[] = []): string[] {
  return [...before, value];
}
