# Shell functions that bring a bare Debian machine to where this checkout can be built and used. Sourced, not run:
#   . bin/setup.sh; need_packages umoci jq; need_node_modules; build_program
# Everything they do they print as one `== step` line on stderr; what is there already costs no time and no line.

RAFTER_HOME=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# To compile zstd-napi at npm install (node-gyp is a Python program), and TLS roots for npm.
BUILD_PACKAGES=(gcc g++ make python3 ca-certificates)
# For fixtures/images/build-python.
IMAGE_PACKAGES=(mmdebstrap umoci jq)
# To mount and run an image that a registry on this machine holds.
RUN_PACKAGES=(fuse3 runc docker-registry)

step() { printf '== %s\n' "$*" >&2; }
die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# need_packages PACKAGE...: installs those that are missing, without starting their services.
need_packages() {
  local missing=() package
  for package in "$@"; do
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  [ "$(id -u)" = 0 ] || die "needs root to install: ${missing[*]}"
  step "installing Debian packages: ${missing[*]}"
  apt-get update -q >&2 || step "apt-get update reported errors; trying to install all the same"
  (
    policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
      trap 'rm -f "$policy"' EXIT
      trap 'exit 130' INT TERM HUP
      printf '#!/bin/sh\nexit 101\n' >"$policy" && chmod +x "$policy"
    fi
    DEBIAN_FRONTEND=noninteractive apt-get install -qy --no-install-recommends \
      -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=120 "${missing[@]}" >&2
  ) || die "apt-get could not install: ${missing[*]}"
}

# need_node_modules: Node.js 20.12 or newer, and node_modules as package-lock.json says.
need_node_modules() {
  command -v node >/dev/null && command -v npm >/dev/null || die 'needs Node.js 20.12 or newer, with npm'
  node -e 'const [a, b] = process.versions.node.split(".").map(Number); process.exit(a > 20 || (a === 20 && b >= 12) ? 0 : 1)' ||
    die "needs Node.js 20.12 or newer, found $(node --version)"
  # npm writes this file last, so it also tells a finished installation from an interrupted one.
  local installed="$RAFTER_HOME/node_modules/.package-lock.json" lock="$RAFTER_HOME/package-lock.json"
  if [ -e "$installed" ] && [ ! "$lock" -nt "$installed" ]; then return 0; fi
  need_packages "${BUILD_PACKAGES[@]}"
  local prefix
  prefix=$(dirname "$(dirname "$(readlink -f "$(command -v node)")")")
  # Without headers beside it node-gyp downloads them.
  if [ -d "$prefix/include/node" ]; then export npm_config_nodedir="$prefix"; fi
  step 'npm ci (compiles one package: about a minute)'
  # node-gyp compiles on one core unless it is told.
  (cd "$RAFTER_HOME" && JOBS=${JOBS:-max} npm ci --no-audit --no-fund --loglevel=error >&2) || die 'npm ci failed'
}

# need_node VERSION: that Node.js as .cache/node-VERSION/bin/node, from the npm package that brings it.
need_node() {
  local target=$RAFTER_HOME/.cache/node-$1
  [ ! -x "$target/bin/node" ] || return 0
  step "downloading Node.js $1"
  rm -rf "$target" "$target.part"
  mkdir -p "$target.part"
  (
    cd "$target.part"
    archive=$(npm pack --silent "node-linux-$(node -p process.arch)@$1") && tar xzf "$archive" --strip-components=1 package/bin/node && rm "$archive"
  ) || die "Node.js $1 could not be downloaded"
  mv "$target.part" "$target"
}

# build_program: TypeScript to dist/, unless that is newer than all it is made of (npm ci has just built it). Shows what the compilers
# say if they fail, and returns their exit code.
build_program() {
  local output code=0 last="$RAFTER_HOME/dist/bundle/bytecode"
  if [ -e "$last" ] && [ -z "$(cd "$RAFTER_HOME" && find src ./*.json ./*.mjs -newer "$last" -print -quit)" ]; then return; fi
  step 'building'
  output=$(cd "$RAFTER_HOME" && npm run --silent build 2>&1) || code=$?
  if [ "$code" != 0 ]; then printf '%s\n' "$output" >&2; fi
  return "$code"
}

# need_fuse: /dev/fuse, loading the kernel module where it is one.
need_fuse() {
  [ -e /dev/fuse ] || modprobe fuse 2>/dev/null || true
  [ -e /dev/fuse ] || die 'this machine has no /dev/fuse: the kernel lacks FUSE, or the container hides it'
}
