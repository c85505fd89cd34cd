/** Exit codes of `docker run` when the container's own process did not run: runc or rafter failed; it is not executable; it is not there. */
export const EXIT_RUNTIME_FAILED = 125;
export const EXIT_NOT_EXECUTABLE = 126;
export const EXIT_NOT_FOUND = 127;
