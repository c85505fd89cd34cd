import { execFileSync } from 'node:child_process';
import { copyFileSync, existsSync, mkdirSync, realpathSync, symlinkSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

const PROGRAMS = ['sh', 'cat', 'ls', 'sleep', 'id', 'env', 'touch', 'mkdir', 'stat', 'grep'];
const DIRECTORIES = ['bin', 'dev', 'etc', 'lib', 'proc', 'sys', 'tmp', 'data', 'home/app'];

/** Makes a root file system from this machine's own programs and the libraries that they link. */
export function makeSmallRootfs(root: string): string {
  for (const directory of DIRECTORIES) mkdirSync(join(root, directory), { recursive: true });
  for (const program of PROGRAMS) addProgram(root, program);
  writeFileSync(
    join(root, 'etc/passwd'),
    'root:x:0:0:root:/root:/bin/sh\napp:x:1000:1000:App:/home/app:/bin/sh\n',
  );
  writeFileSync(join(root, 'etc/group'), 'root:x:0:\napp:x:1000:\nvideo:x:44:app\naudio:x:29:app,other\n');
  writeFileSync(join(root, 'data/from-image'), 'image\n');
  writeFileSync(join(root, 'bin/not-executable'), '#!/bin/sh\n', { mode: 0o644 });
  writeFileSync(join(root, 'etc/elsewhere'), 'must stay\n');
  symlinkSync('elsewhere', join(root, 'etc/resolv.conf'));
  return root;
}

/** Puts a program of this machine into `/bin` of a root file system, with the libraries that it links. */
export function addProgram(root: string, program: string): void {
  const file = realpathSync(execFileSync('which', [program], { encoding: 'utf8' }).trim());
  copyFileSync(file, join(root, 'bin', program));
  const libraries = execFileSync('ldd', [file], { encoding: 'utf8' }).matchAll(/(\/\S+) \(0x/g);
  for (const [, library] of libraries) copyInto(root, library!);
}

function copyInto(root: string, file: string): void {
  const target = join(root, file);
  if (existsSync(target)) return;
  mkdirSync(dirname(target), { recursive: true });
  copyFileSync(realpathSync(file), target);
}
