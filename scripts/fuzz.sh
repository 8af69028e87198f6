#!/usr/bin/env bash
# fuzz.sh SECONDS         runs every fuzz target for SECONDS, on the stable toolchain.
# fuzz.sh shells LINES    judges LINES lines, and runs the ones judged read-only in every shell.
set -euo pipefail
cd "$(dirname "$0")/../fuzz"
command -v cargo-fuzz >/dev/null 2>&1 || cargo install cargo-fuzz --version 0.13.2 --locked --quiet
export RUSTC_BOOTSTRAP=1
if [ "${1:-}" = shells ]; then
  # One input is 16 lines. No sanitizer: the test is about the shells, not about memory errors here.
  exec cargo fuzz run --sanitizer none shells -- -runs=$(((${2:?how many lines} + 15) / 16)) -len_control=0 \
    -verbosity=0 -print_final_stats=1
fi
for target in $(cargo fuzz list); do
  corpus=("corpus/$target")
  [ "$target" = stream_json ] && corpus+=(../crates/agent/tests/recordings)
  [ "$target" = acp_lines ] && corpus+=(../crates/acp/tests/recordings)
  mkdir -p "${corpus[0]}"
  cargo fuzz run "$target" "${corpus[@]}" -- -max_total_time="${1:-60}" -verbosity=0 -print_final_stats=1
done
