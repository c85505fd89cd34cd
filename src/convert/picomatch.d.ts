// What is used of picomatch, which has no types of its own.

declare module 'picomatch' {
  interface Options {
    /** `*` and `?` match a dot at the beginning of a name, too. */
    dot?: boolean;
    /** `!` at the beginning is a character like others. */
    nonegate?: boolean;
    /** Most characters of a pattern; more are an error. */
    maxLength?: number;
  }
  interface Scanned {
    /** The part of the pattern in front of its first special character, without the last `/`. */
    base: string;
    isGlob: boolean;
  }
  function picomatch(pattern: string, options?: Options): (path: string) => boolean;
  namespace picomatch {
    function scan(pattern: string, options?: Options): Scanned;
  }
  export default picomatch;
}
