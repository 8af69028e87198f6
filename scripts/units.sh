#!/usr/bin/env bash
# units.sh   checks the systemd unit: no line that systemd would pass over, and no more exposed than
# agreed; and that the check itself sees each misspelt line.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh
need systemd-analyze=systemd
unit=breakglass.service
# Of ten, times ten. What is left: the network, four capabilities, accounts of its own.
threshold=25

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
mkdir -p "$root/etc/systemd/system" "$root/usr/lib/systemd" "$root/usr/local/bin"
cp -r /usr/lib/systemd/system "$root/usr/lib/systemd/system"
cp "$(type -P true)" "$root/usr/local/bin/breakglass"
verify() { # what systemd has to say of the text on standard input
  cat >"$root/etc/systemd/system/$unit"
  systemd-analyze verify --root="$root" --man=no "$unit" 2>&1 || true
}

failed=0 passed=0
check() { if "${@:2}"; then passed=$((passed + 1)); else failed=$((failed + 1)); echo "units: $1" >&2; fi; }

said=$(verify <deploy/systemd/$unit)
check "systemd says: $said" test -z "$said"
check "it is more exposed than agreed" \
  systemd-analyze security --offline=true --root="$root" --no-pager --threshold=$threshold $unit >"$root/exposure"
tail -1 "$root/exposure"
lines=$(grep -n '^[A-Z][A-Za-z]*=' deploy/systemd/$unit | cut -d: -f1)
for line in $lines; do
  said=$(sed "${line}s/=/x=/" deploy/systemd/$unit | verify)
  check "line $line misspelt goes unnoticed" test -n "$said"
done
echo "units: $passed passed, $failed failed"
[ $failed = 0 ]
