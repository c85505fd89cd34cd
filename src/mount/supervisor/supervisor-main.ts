import { messageOf } from '../../errors.js';
import { supervise } from './supervisor.js';
import { ADOPT } from './supervisor-protocol.js';

// The program of a supervisor: node supervisor-main.js LOCK RUN_DIR PROGRAM [ARGUMENTS]. It loads nothing that it does not need.
const [lockPath = '', runDir = '', ...command] = process.argv.slice(2);
const adopt = process.env[ADOPT] === undefined ? undefined : Number(process.env[ADOPT]);
supervise({ command, lockPath, runDir, adopt }).then(
  (code) => {
    process.exitCode = code;
  },
  (error: unknown) => {
    process.stderr.write(`rafter: ${messageOf(error)}\n`);
    process.exitCode = 1;
  },
);
