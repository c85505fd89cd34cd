import type { Command } from 'commander';
import type { MountInfo } from '../../mount/api/api.js';
import { addCommonOptions, withContext } from '../context.js';
import { EXIT } from '../exit-codes.js';
import { formatBytes, formatTable } from '../format.js';

/** `rafter mounts` */
export function defineMounts(program: Command, setExitCode: (code: number) => void): void {
  const command = program
    .command('mounts')
    .description('list what is mounted, and what was fetched for it')
    .addHelpText(
      'after',
      `
Examples:
  rafter mounts
  rafter mounts --json | jq -r '.mounts[].mountpoint'`,
    );
  addCommonOptions(command).action(async () =>
    setExitCode(
      await withContext(command, async ({ options: { runDir }, output, signal }) => {
        const { listMounts } = await import('../../mount/client/client.js');
        const mounts = await listMounts({ runDir, signal, onNotice: output.warn });
        const rows = mounts.map(
          ({ mountpoint, reference, imageSize, stats, driver, data, completion, writable }) => [
            mountpoint,
            reference,
            writable === undefined ? driver : `${driver}, writable`,
            formatBytes(imageSize),
            describeData(data, completion),
            formatBytes(stats.fetchedBytes),
            String(stats.requests),
          ],
        );
        const head = ['MOUNTPOINT', 'IMAGE', 'DRIVER', 'SIZE', 'LOCAL', 'FETCHED', 'REQUESTS'];
        output.result({ mounts }, formatTable([head, ...rows]));
        return EXIT.ok;
      }),
    ),
  );
}

/** How much of an image's decoded data is here, and what fetches the rest. */
function describeData(data: MountInfo['data'], completion: MountInfo['completion']): string {
  if (data === undefined) return '?';
  const percent = data.bytes === 0 ? 100 : Math.floor((100 * data.localBytes) / data.bytes);
  return `${percent}%${completion === undefined ? '' : ` ${completion}`}`;
}
