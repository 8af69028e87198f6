#!/usr/bin/env bash
# fuzz.sh SECONDS   runs every fuzz target for that long, on the stable toolchain.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
command -v cargo-fuzz >/dev/null 2>&1 || cargo install cargo-fuzz --version 0.13.2 --locked --quiet
export RUSTC_BOOTSTRAP=1
for target in $(cargo fuzz list); do
  corpus=("corpus/$target")
  [ "$target" = stream_json ] && corpus+=(../crates/agent/tests/recordings)
  mkdir -p "${corpus[0]}"
  cargo fuzz run "$target" "${corpus[@]}" -- -max_total_time="${1:-60}" -verbosity=0 -print_final_stats=1
done
