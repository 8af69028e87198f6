#!/usr/bin/env bash
# image.sh   builds the images breakglass and breakglass-runner, without a daemon.
#
#   BIN=FILE      the binary; default target/release/breakglass
#   BASE=IMAGE    a Debian to build from; default: one of this machine's release, made on the spot
#   OUT=DIR       the directory of the archives; default target/images; empty: no archives
#   STORAGE=DIR   keep the images in a containers storage there, for podman's --root
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh
need buildah=buildah mmdebstrap=mmdebstrap

bin=${BIN:-target/release/breakglass}
out=${OUT-target/images}
[ -x "$bin" ] || { echo "image: $bin is missing: run cargo build --release, or set BIN" >&2; exit 1; }
# The CLI is pinned once for tests and image. npm installs it as a program that needs no Node.
claude=tests/claude/node_modules/.bin/claude
[ -x "$claude" ] || npm ci --prefix tests/claude --no-audit --no-fund --loglevel=error

work=$(mktemp -d "${TMPDIR:-/tmp}/breakglass-image.XXXXXX")
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work
storage=${STORAGE:-$work/storage}
tool() { buildah --root "$storage" --runroot "$work/run" --storage-driver vfs "$@"; }

# A minimal Debian: apt and its dependencies, without documentation, and without flushing to the disk.
make_base() {
  local release container
  release=$(. /etc/os-release && echo "$VERSION_CODENAME")
  mmdebstrap --quiet --variant=apt --include=usr-is-merged \
    --hook-dir=/usr/share/mmdebstrap/hooks/merged-usr --dpkgopt=force-unsafe-io \
    --dpkgopt='path-exclude=/usr/share/man/*' --dpkgopt='path-exclude=/usr/share/locale/*' \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-include=/usr/share/doc/*/copyright' \
    "$release" "$work/base.tar" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  container=$(tool from scratch)
  tool add -q "$container" "$work/base.tar" / >/dev/null
  tool commit -q --rm "$container" localhost/breakglass-base >/dev/null
  rm "$work/base.tar"
}

build() { # name, Containerfile, context
  tool build --isolation chroot --layers=false --pull=false --quiet --build-arg "BASE=$base" \
    --tag "localhost/$1" --file "$2" "$3" >"$work/log" 2>&1 || { cat "$work/log" >&2; exit 1; }
  [ -z "$out" ] || { mkdir -p "$out"; rm -f "$out/$1.tar"; tool push -q "localhost/$1" "oci-archive:$out/$1.tar:$1"; }
  echo "image: $1 is built$([ -z "$out" ] || echo ", and in $out/$1.tar")"
}

base=${BASE:-localhost/breakglass-base}
if [ -n "${BASE:-}" ]; then tool pull -q "$base" >/dev/null; else make_base; fi
mkdir "$work/server" "$work/runner"
cp "$bin" "$work/server/breakglass"
cp "$bin" "$work/runner/breakglass"
cp -L "$claude" "$work/runner/claude"
strip --strip-debug "$work"/*/breakglass
build breakglass deploy/Containerfile "$work/server"
build breakglass-runner deploy/Containerfile.runner "$work/runner"
