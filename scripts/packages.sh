# need COMMAND=PACKAGE…   sourced: installs the Debian packages whose commands the machine lacks.
need() {
  local missing=() wanted sudo
  for wanted in "$@"; do
    command -v "${wanted%%=*}" >/dev/null 2>&1 || missing+=("${wanted#*=}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $sudo apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}
