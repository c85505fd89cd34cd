import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

const roots: string[] = [];

/** A new temporary directory, which goes when the test file ends. */
export function scratch(): string {
  const root = mkdtempSync(join(tmpdir(), 'rafter-test-'));
  roots.push(root);
  return root;
}

/** Removes what `scratch` made. */
export function removeScratch(): void {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true, force: true });
}
