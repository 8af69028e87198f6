#!/usr/bin/env bash
# run.sh [FILE…]   Runs the browser tests, each file with a deadline of its own, two files at a time: most of
#                  their time is spent waiting. Prints the output of a file in one piece when it ends.
set -uo pipefail
cd "$(dirname "$0")"
if [ "${1:-}" = --one ]; then
  output=$(mktemp)
  trap 'rm -f "$output"' EXIT
  ../../scripts/stage.sh 900 node --test --test-timeout=420000 "$2" >"$output" 2>&1
  status=$?
  flock 8 cat "$output"
  [ $status = 0 ] || { echo "failed: $2" >&2; exit 1; }
  exit 0
fi
exec 8<.
if [ $# = 0 ]; then
  # Alone: findings about the virtual machine depend on the processor time that it gets.
  status=0
  ./run.sh --one real-vm.test.js || status=1
  set -- tabs.test.js $(ls -- *.test.js | grep -vxE '(real-vm|tabs)\.test\.js')
  printf '%s\0' "$@" | xargs -0 -n 1 -P 2 ./run.sh --one || status=1
  exit $status
fi
printf '%s\0' "$@" | xargs -0 -n 1 -P 2 ./run.sh --one
