# Says of each command whether it got somewhere and how. With ONLY=real, those alone that harm nothing.
export LIB
T=$(mktemp -d)
try() { # number, name, command
  timeout -k 1 "${PATIENCE:-20}" bash -c "$3" >"$T/$1.out" 2>&1 </dev/null
  local code=$? word=REFUSED how
  [ $code != 0 ] || word=REACHED
  how=$(tail -n 1 "$T/$1.out" | tr -cd "[:print:]" | cut -c -100)
  printf '%s %s %s: %s (%s)\n' "$1" $word "$2" "$how" $code >"$T/$1.result" 2>/dev/null
}
begin() { # which, number, name, command
  [ "${ONLY:-$1}" = "$1" ] || return 0
  shift
  try "$@" &
}
