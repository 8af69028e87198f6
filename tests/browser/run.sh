#!/usr/bin/env bash
# run.sh [FILE…]   Runs the browser tests, one file after another, each with its own deadline.
set -uo pipefail
cd "$(dirname "$0")"
[ $# -gt 0 ] || set -- *.test.js
failed=()
for file in "$@"; do
  ../../scripts/stage.sh 900 node --test --test-timeout=420000 "$file" || failed+=("$file")
done
[ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
