#!/usr/bin/env bash
# Installs everything that the tests need and the machine lacks. Safe to run again.
set -euo pipefail
cd "$(dirname "$0")/.."

source scripts/packages.sh
need ssh=openssh-client /usr/sbin/sshd=openssh-server setpriv=util-linux bwrap=bubblewrap perl=perl visudo=sudo rsync=rsync groff=groff-base \
  nginx=nginx-light \
  dash=dash busybox=busybox zsh=zsh ksh=ksh mksh=mksh fish=fish \
  node=nodejs npm=npm chromium=chromium
scripts/lab-packages.sh
major=$(node -p 'process.versions.node.split(".")[0]')
[ "$major" -ge 20 ] || { echo "setup: Node $major is too old for the page's build; install Node 20 or newer" >&2; exit 1; }

tool() { # command, crate, version
  command -v "$1" >/dev/null 2>&1 || cargo install "$2" --version "$3" --locked --quiet
}
tool cargo-nextest cargo-nextest 0.9.143
tool cargo-deny cargo-deny 0.20.2

for dir in web tests/claude tests/acp tests/browser; do
  lock="$dir/package-lock.json"
  stamp="$dir/node_modules/.installed"
  if [ ! -f "$stamp" ] || ! cmp -s "$lock" "$stamp"; then
    npm ci --prefix "$dir" --no-audit --no-fund --loglevel=error
    cp "$lock" "$stamp"
  fi
done
