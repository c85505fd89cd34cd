import { vi } from 'vitest';
import { runCommandLine } from '../../src/cli/program.js';

/** Runs `rafter ARGS` in this process: its exit code and what it writes. */
export async function runInProcess(
  args: string[],
): Promise<{ code: number; stdout: string; stderr: string }> {
  const written = { stdout: '', stderr: '' };
  const spies = (['stdout', 'stderr'] as const).map((name) =>
    vi.spyOn(process[name], 'write').mockImplementation((piece, ...rest) => {
      written[name] += Buffer.from(piece).toString();
      (rest.at(-1) as (() => void) | undefined)?.();
      return true;
    }),
  );
  try {
    return { code: await runCommandLine(args), ...written };
  } finally {
    for (const spy of spies) spy.mockRestore();
  }
}
