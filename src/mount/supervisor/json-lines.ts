import type { Duplex } from 'node:stream';

/** Longest message in bytes: the description of some thousand mounts. */
const MAX_LINE = 64 << 20;

/** Calls `take` with each JSON line that comes out of `stream`. A line that is none, or too long, destroys the stream. */
export function readJsonLines(stream: Duplex, take: (message: unknown) => void): void {
  let pending: string[] = [];
  let size = 0;
  stream.setEncoding('utf8');
  stream.on('data', (text: string) => {
    const lines = text.split('\n');
    const rest = lines.pop()!;
    for (const line of lines) {
      const whole = pending.join('') + line;
      pending = [];
      size = 0;
      try {
        take(JSON.parse(whole));
      } catch (error) {
        stream.destroy(error as Error);
        return;
      }
    }
    pending.push(rest);
    size += rest.length;
    if (size > MAX_LINE) stream.destroy(new Error('a message without end'));
  });
}

/** Writes one message as a line. */
export function writeJsonLine(stream: Duplex, message: unknown): void {
  stream.write(`${JSON.stringify(message)}\n`);
}
