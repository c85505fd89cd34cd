import { isRafterError, messageOf } from '../errors.js';
import type { RegistryReference } from '../image/reference.js';
import { CHECKS } from './doctor-checks.js';
import { cleanUp, type DoctorState, startState } from './doctor-state.js';
import type { RegistryOptions } from './options.js';

/** What became of trying one operation of a registry. */
interface Diagnosis {
  operation: string;
  /** `works`; `other`: the registry does it differently, which is fine; `fails`; `skipped`: something before it failed. */
  result: 'works' | 'other' | 'fails' | 'skipped';
  /** What was seen, or the error. */
  detail: string;
}

/** What `diagnose` found. */
export interface DoctorReport {
  /** `host/repository`. */
  name: string;
  /** The kind of registry that it is taken for. */
  kind: string;
  diagnoses: Diagnosis[];
  /** What was written and could not be removed. */
  left: string[];
}

export interface DoctorOptions extends RegistryOptions {
  signal?: AbortSignal | undefined;
  onDiagnosis?: ((diagnosis: Diagnosis) => void) | undefined;
}

/**
 * Tries every operation that this program needs at the repository of `reference`, with blobs and manifests of its own, a few hundred
 * KiB, and removes them where the registry lets it. A failed operation is a result, not an error. INTERRUPTED by `signal`.
 */
export async function diagnose(reference: RegistryReference, options: DoctorOptions): Promise<DoctorReport> {
  const { signal, onDiagnosis } = options;
  const state = startState(reference, options);
  const diagnoses: Diagnosis[] = [];
  let left: string[] = [];
  try {
    for (const check of CHECKS) {
      const diagnosis = await tryOne(check, state);
      if (signal?.aborted) break;
      diagnoses.push(diagnosis);
      onDiagnosis?.(diagnosis);
    }
  } finally {
    left = await cleanUp(state);
    await state.session.close();
  }
  signal?.throwIfAborted();
  return { name: state.session.name, kind: state.profile.name, diagnoses, left };
}

async function tryOne(
  { operation, needs, run }: (typeof CHECKS)[number],
  state: DoctorState,
): Promise<Diagnosis> {
  if (needs !== undefined && !needs(state)) {
    return { operation, result: 'skipped', detail: 'needs what failed before' };
  }
  try {
    return { operation, ...(await run(state)) };
  } catch (error) {
    const hint = isRafterError(error) && error.hint !== undefined ? ` (${error.hint})` : '';
    return { operation, result: 'fails', detail: `${messageOf(error)}${hint}` };
  }
}
