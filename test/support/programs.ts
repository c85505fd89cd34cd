import { accessSync, constants } from 'node:fs';
import { delimiter, join } from 'node:path';
import type { TestContext } from 'vitest';

/** The reason to skip a test that needs `programs`, or undefined if all of them are installed. */
export function missingPrograms(...programs: string[]): string | undefined {
  const missing = programs.filter((program) => !isInstalled(program));
  return missing.length === 0 ? undefined : `not installed: ${missing.join(', ')}`;
}

function isInstalled(program: string): boolean {
  return (process.env.PATH ?? '').split(delimiter).some((directory) => {
    try {
      accessSync(join(directory, program), constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}

/** Path of a program of another project in the folder RAFTER_PEERS; skips the test where it is not there. */
export function peerOrSkip(ctx: TestContext, name: string): string {
  const folder = process.env.RAFTER_PEERS;
  if (!folder) return ctx.skip(`RAFTER_PEERS does not name a folder with ${name}`);
  const path = join(folder, name);
  try {
    accessSync(path, constants.X_OK);
  } catch {
    return ctx.skip(`no ${name} in the folder RAFTER_PEERS`);
  }
  return path;
}

/** Path of a program of another project in the folder RAFTER_PEERS; undefined where it is not there. */
export function peer(name: string): string | undefined {
  const path = join(process.env.RAFTER_PEERS || '/nonexistent', name);
  try {
    accessSync(path, constants.X_OK);
    return path;
  } catch {
    return undefined;
  }
}
