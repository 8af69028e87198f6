#!/usr/bin/env bash
# stage.sh SECONDS COMMAND [ARG…]   runs one stage of the tests with a deadline, and fails if it leaves a
# process behind. Its processes are found by a mark in their environment, and ended by their number.
set -uo pipefail
seconds=$1; shift
mark="STAGE_OF_TESTS=$$.$RANDOM.$(date +%s)"

marked() { # the numbers of this stage's processes
  grep -slzxF -- "$mark" /proc/[0-9]*/environ | cut -d/ -f3
}
list() { ps -o pid=,ppid=,etimes=,stat=,wchan:20=,args= -p "$(marked | paste -sd,)" 2>/dev/null | cut -c -200; }
end_all() {
  local signal pid
  for signal in TERM KILL; do
    for pid in $(marked); do kill -$signal "$pid" 2>/dev/null; done
    for _ in {1..50}; do [ -n "$(marked)" ] || return 0; sleep 0.1; done
  done
}
timer=
trap 'end_all; [ -z "$timer" ] || kill "$timer" 2>/dev/null; exit 130' INT TERM HUP

env "$mark" "$@" &
command=$!
sleep "$seconds" &
timer=$!
wait -n -p ended "$command" "$timer"
status=$?
if [ "$ended" = "$timer" ]; then
  { echo "stage: '$*' did not end within $seconds s. It waited with these processes"
    echo "(pid, parent, age in seconds, state, kernel function, command):"; list; } >&2
  end_all
  exit 124
fi
kill "$timer" 2>/dev/null
# Processes that are ending may take a moment. A process that is just executing a program shows no
# environment, so two checks in a row must find none.
absent=0
for _ in {1..50}; do
  if [ -n "$(marked)" ]; then absent=0; else absent=$((absent + 1)); fi
  [ $absent -lt 2 ] || exit "$status"
  sleep 0.1
done
{ echo "stage: '$*' left processes behind (pid, parent, age in seconds, state, kernel function, command):"
  list; } >&2
end_all
exit $((status == 0 ? 1 : status))
