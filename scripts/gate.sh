#!/usr/bin/env bash
# gate.sh   builds breakglass-gate as one static file for any Linux of this architecture, verifies that
#           it is static, and prints its size.
set -euo pipefail
cd "$(dirname "$0")/.."
triple=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS='-C target-feature=+crt-static' cargo build --release -p breakglass-gate \
  --target "$triple" --target-dir target/static
gate=target/static/$triple/release/breakglass-gate
wants=$(readelf -ldW "$gate")
if grep -qE 'INTERP|\(NEEDED\)' <<<"$wants"; then
  echo "$gate is not static: it needs a dynamic loader or a library of the host" >&2
  exit 1
fi
printf '%s: %s bytes, static\n' "$gate" "$(stat -c %s "$gate")"
