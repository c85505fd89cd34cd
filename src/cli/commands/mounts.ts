import type { Command } from 'commander';
import { addCommonOptions, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { formatBytes, formatTable } from '../format.js';

/** `rafter mounts` */
export function defineMounts(program: Command, setExitCode: (code: number) => void): void {
  const command = program.command('mounts').description('list what is mounted, and what was fetched for it');
  addCommonOptions(command).action(async () =>
    setExitCode(
      await withContext(command, async ({ options: { runDir }, output, signal }) => {
        const { listMounts } = await import('../../mount/client.js');
        const mounts = await listMounts({ runDir, signal, onNotice: output.warn });
        const rows = mounts.map(({ mountpoint, reference, imageSize, stats, driver }) => [
          mountpoint,
          reference,
          driver,
          formatBytes(imageSize),
          formatBytes(stats.fetchedBytes),
          String(stats.requests),
        ]);
        const head = ['MOUNTPOINT', 'IMAGE', 'DRIVER', 'SIZE', 'FETCHED', 'REQUESTS'];
        output.result({ mounts }, formatTable([head, ...rows]));
        return EXIT.ok;
      }),
    ),
  );
}
