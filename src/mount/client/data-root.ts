import { RafterError } from '../../errors.js';

/** BUSY unless the daemon, which serves `runDir` with the data root `dataRoot`, is one of `wanted`. */
export function checkDataRoot(
  { runDir, dataRoot }: { runDir: string; dataRoot: string },
  wanted: string,
): void {
  if (dataRoot === wanted) return;
  throw new RafterError('BUSY', `the daemon of ${runDir} uses the data root ${dataRoot}`, {
    hint: `give --data-root ${dataRoot}, or another --run-dir, or stop that daemon`,
  });
}
