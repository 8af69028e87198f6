#!/usr/bin/env bash
# stages.sh RECIPE=SECONDS…   runs recipes of the justfile side by side, each by its deadline. What one prints is
# kept in target/stages/RECIPE.log; the end of it is shown if the recipe fails. Fails if one of them fails.
set -uo pipefail
cd "$(dirname "$0")/.."
logs=target/stages
shown_lines=300
mkdir -p "$logs"

declare -A name_of
end_all() {
  trap '' INT TERM HUP
  kill "${!name_of[@]}" 2>/dev/null
  wait
  exit 130
}
trap end_all INT TERM HUP

begun=$SECONDS
for stage in "$@"; do
  name=${stage%%=*}
  scripts/stage.sh "${stage#*=}" ./just "$name" >"$logs/$name.log" 2>&1 </dev/null &
  name_of[$!]=$name
done

failed=()
while [ ${#name_of[@]} -gt 0 ]; do
  wait -n -p pid "${!name_of[@]}"
  status=$?
  name=${name_of[$pid]}
  unset "name_of[$pid]"
  if [ "$status" = 0 ]; then
    echo "$name: passed after $((SECONDS - begun)) s"
  else
    failed+=("$name")
    echo "$name: failed with exit code $status after $((SECONDS - begun)) s; the end of $logs/$name.log:"
    tail -n "$shown_lines" "$logs/$name.log"
  fi
done
[ ${#failed[@]} = 0 ] || { echo "failed: ${failed[*]}" >&2; exit 1; }
