#!/usr/bin/env bash
# release.sh   builds what a release consists of, in target/dist/VERSION: server and gate, the list of what is
#              linked into each (CycloneDX), the container images, and SHA256SUMS of all of them.
#
#   IMAGES=no   leaves the images out
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { echo "release: $*" >&2; exit 1; }

version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
[ -n "$version" ] || fail "Cargo.toml has no [workspace.package] version"
grep -q "^## $version" CHANGELOG.md || fail "CHANGELOG.md has no section \"## $version\": write what users get and must change"
[ -z "$(git status --porcelain --untracked-files=no)" ] || fail "there are uncommitted changes: commit them first, a release is one commit"
export SOURCE_DATE_EPOCH; SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)

host=$(rustc -vV | sed -n 's/^host: //p')
musl=$(uname -m)-unknown-linux-musl
triple=$host
if ! [ -d "$(rustc --print sysroot)/lib/rustlib/$musl" ]; then
  echo "release: the target $musl is not installed, so the server needs this machine's C library or a newer one."
  echo "         For a static server: rustup target add $musl, and install musl-tools."
elif ! command -v musl-gcc >/dev/null; then
  echo "release: musl-gcc is missing, so the server needs this machine's C library or a newer one."
  echo "         For a static server: apt-get install musl-tools."
else
  triple=$musl
fi

out=target/dist/$version
rm -rf "$out"
mkdir -p "$out"
cargo build --release --locked -p breakglass --target "$triple"
install -m 0755 "target/$triple/release/breakglass" "$out/breakglass-$version-$triple"
# The gate is static with either C library, and runs on hosts that are older than this machine.
scripts/gate.sh
install -m 0755 "target/static/$host/release/breakglass-gate" "$out/breakglass-gate-$version-$host"
python3 scripts/sbom.py breakglass "$triple" >"$out/breakglass-$version.cdx.json"
python3 scripts/sbom.py breakglass-gate "$host" >"$out/breakglass-gate-$version.cdx.json"
if [ "${IMAGES:-yes}" != no ]; then
  BIN="target/$triple/release/breakglass" OUT="$out" scripts/image.sh
fi

(cd "$out" && sha256sum -- * >SHA256SUMS && sha256sum --quiet --check SHA256SUMS)
echo "release: $version is in $out; sign SHA256SUMS, and tag the commit v$version"
ls -l "$out"
