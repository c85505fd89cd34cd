import type { RunConfig } from '../../image/config.js';
import type { FileInode } from '../../rafs/tree.js';
import type { ScannedEntry } from '../tar-scan.js';
import { ElfReader, isElf, MAX_ELF_PREFIX } from './elf.js';
import type { FileFacts } from './file-facts.js';
import { parseNodeImports, parsePackageMain } from './node-imports.js';
import { parsePythonImports } from './python-imports.js';
import { parseExec, parseShebang } from './script.js';

/** Most bytes of a script, module or text that is looked at as a whole; of a longer one, its first. */
const MAX_TEXT_SIZE = 1 << 20;
const MAX_LINES = 256;
/** First bytes that tell what a file is: the program headers of ELF lie in them. */
const HEAD_SIZE = 8192;

/** Which interpreters an image may run: only their modules are looked at. */
export interface Interpreters {
  python: boolean;
  node: boolean;
}

/** What command and environment of an image speak of. */
export function interpretersOf({ Entrypoint, Cmd, Env }: RunConfig): Interpreters {
  const text = [...(Entrypoint ?? []), ...(Cmd ?? []), ...(Env ?? [])].join('\n');
  return {
    python: /python|\bpip|\.py\b|django|uvicorn/i.test(text),
    node: /node|\bnpm|\.[cm]?js\b/i.test(text),
  };
}

/** Looks at the files of an image while they pass, and keeps what says what they read when they are run. */
export class ContentWatch {
  /** By the inodes of the image's tree. */
  readonly facts = new Map<FileInode, FileFacts>();
  readonly interpreters: Interpreters;
  #prefix: Buffer | undefined;
  #text: Buffer | undefined;

  constructor(interpreters: Interpreters) {
    this.interpreters = interpreters;
  }

  /** `entry`, which is to be read instead of the one given: its bytes are looked at on their way. They are not changed. */
  watch(file: FileInode, entry: Pick<ScannedEntry, 'path' | 'content' | 'body'>) {
    if (file.size === 0) return entry;
    const { content } = entry;
    const name = entry.path.toString('latin1', entry.path.lastIndexOf(0x2f) + 1);
    if (content === undefined) return { content, body: this.#pass(file, name, entry.body) };
    const observer = this.#begin(file, name, content);
    observer?.feed(content, true);
    observer?.finish();
    return entry;
  }

  async *#pass(file: FileInode, name: string, body: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
    let observer: Observer | undefined;
    let head: Buffer | undefined = Buffer.alloc(0);
    let left = file.size;
    for await (const piece of body) {
      left -= piece.length;
      let next = piece;
      if (head !== undefined) {
        // Where a source is cut into pieces must not change what is known of a file.
        head = head.length === 0 ? piece : Buffer.concat([head, piece]);
        if (head.length >= HEAD_SIZE || left === 0) {
          next = head;
          head = undefined;
          observer = this.#begin(file, name, next);
        }
      }
      if (head === undefined && observer?.feed(next, next.length === file.size) === false) {
        observer.finish();
        observer = undefined;
      }
      yield piece;
    }
    observer?.finish();
  }

  #begin(file: FileInode, name: string, first: Buffer): Observer | undefined {
    if (isElf(first)) return this.#elf(file);
    const read = this.#textReader(file, name, first);
    return read && this.#textObserver(file, read);
  }

  #elf(file: FileInode): Observer {
    const reader = new ElfReader(() => (this.#prefix ??= Buffer.allocUnsafeSlow(MAX_ELF_PREFIX)));
    return {
      feed: (bytes, isLast) => reader.feed(bytes, isLast),
      finish: () => {
        const elf = reader.finish();
        if (elf) this.facts.set(file, { elf });
      },
    };
  }

  /** What makes facts of a file with this name and beginning, if anything does. */
  #textReader(file: FileInode, name: string, first: Buffer): ((content: Buffer) => FileFacts) | undefined {
    const { python, node } = this.interpreters;
    if (python && name.endsWith('.py')) return (content) => ({ ...scriptOf(content), ...pythonOf(content) });
    if (node && /\.[cm]?js$/.test(name)) return (content) => ({ ...scriptOf(content), ...nodeOf(content) });
    if (node && name === 'package.json') return mainOf;
    if ((name.endsWith('.conf') && name.startsWith('ld')) || /^ld-musl-.*\.path$/.test(name)) return linesOf;
    if (name.endsWith('.conf') && file.size < 4096) return linesOf;
    const words = parseShebang(first);
    if (words === undefined) return undefined;
    const program = words.join(' ');
    if (python && program.includes('python'))
      return (content) => ({ ...scriptOf(content), ...pythonOf(content) });
    if (node && program.includes('node')) return (content) => ({ ...scriptOf(content), ...nodeOf(content) });
    return scriptOf;
  }

  #textObserver(file: FileInode, read: (content: Buffer) => FileFacts): Observer {
    let whole: Buffer | undefined;
    let filled = 0;
    return {
      feed: (bytes, isLast) => {
        this.#text ??= Buffer.allocUnsafeSlow(MAX_TEXT_SIZE);
        if (isLast) whole = bytes.subarray(0, MAX_TEXT_SIZE);
        else filled += bytes.copy(this.#text, filled);
        return filled < MAX_TEXT_SIZE;
      },
      finish: () => {
        const facts = read(whole ?? this.#text!.subarray(0, filled));
        if (Object.keys(facts).length > 0) this.facts.set(file, facts);
      },
    };
  }
}

interface Observer {
  /** The next piece; `isLast` if it is the whole file. False if no more is needed. */
  feed(bytes: Buffer, isLast: boolean): boolean;
  finish(): void;
}

function scriptOf(content: Buffer): FileFacts {
  const shebang = parseShebang(content);
  if (!shebang) return {};
  const exec = parseExec(content.toString('latin1'));
  return { shebang, ...(exec && { exec }) };
}

function pythonOf(content: Buffer): FileFacts {
  const python = parsePythonImports(content.toString('latin1'));
  return python.length > 0 ? { python } : {};
}

function nodeOf(content: Buffer): FileFacts {
  const node = parseNodeImports(content.toString('latin1'));
  return node.length > 0 ? { node } : {};
}

function mainOf(content: Buffer): FileFacts {
  const main = parsePackageMain(content);
  return main === undefined ? {} : { main };
}

/** Lines without comments. */
function linesOf(content: Buffer): FileFacts {
  const lines = content.toString('latin1').split(/[\n:]/, MAX_LINES);
  return { lines: lines.map((line) => line.split('#', 1)[0]!.trim()).filter((line) => line !== '') };
}
