import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { cpus, release, totalmem } from 'node:os';
import { join, resolve } from 'node:path';
import { peer } from './nydusd.mjs';

const project = resolve(import.meta.dirname, '../..');

/** Where this is measured. */
export function describeMachine() {
  const all = cpus();
  return {
    cpu: all[0].model.trim(),
    cores: all.length,
    memoryBytes: totalmem(),
    kernel: release(),
    system: /^PRETTY_NAME="?(.*?)"?$/m.exec(readFileSync('/etc/os-release', 'utf8'))[1],
  };
}

/**
 * Path of a program, of Nydus in RAFTER_PEERS or else in PATH; nothing if it is not there.
 * @param {string} name
 */
export function findProgram(name) {
  const places = (process.env.PATH ?? '').split(':').map((dir) => join(dir, name));
  return peer(name) ?? places.find((path) => existsSync(path));
}

/**
 * The versions of rafter, Node.js and those of the programs that are there. One that does not know its version is told by the
 * beginning of its SHA-256.
 * @param {string[]} programs
 * @returns {Record<string, string>}
 */
export function versionsOf(programs) {
  const versions = { rafter: ownVersion(), 'Node.js': process.versions.node };
  for (const name of programs) {
    const path = findProgram(name);
    if (path !== undefined) versions[name] = versionOf(path);
  }
  return versions;
}

function versionOf(path) {
  const { stdout, stderr } = spawnSync(path, ['--version'], { encoding: 'utf8' });
  const found = /\b\d+\.\d+(\.\d+)?\b/.exec(`${stdout}${stderr}`.split('\n')[0]);
  if (found) return found[0];
  return `sha256 ${createHash('sha256').update(readFileSync(path)).digest('hex').slice(0, 12)}`;
}

/** The version of the package, and in a checkout the commit. */
function ownVersion() {
  const { version } = JSON.parse(readFileSync(join(project, 'package.json'), 'utf8'));
  const { status, stdout } = spawnSync('git', ['-C', project, 'rev-parse', '--short', 'HEAD'], {
    encoding: 'utf8',
  });
  return status === 0 ? `${version} (${stdout.trim()})` : version;
}
