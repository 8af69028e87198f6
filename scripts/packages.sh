# To be sourced. Downloads are retried, so that a short network failure does not fail a test.
export NPM_CONFIG_FETCH_RETRIES=5 PIP_RETRIES=10 PIP_DEFAULT_TIMEOUT=60
# Waits for another apt on this machine.
APT=(apt-get -qq -o Acquire::Retries=5 -o DPkg::Lock::Timeout=300)

# need COMMAND=PACKAGE…   installs the Debian packages whose commands the machine lacks.
need() {
  local missing=() wanted sudo
  for wanted in "$@"; do
    command -v "${wanted%%=*}" >/dev/null 2>&1 || missing+=("${wanted#*=}")
  done
  [ ${#missing[@]} -gt 0 ] || return 0
  sudo=$([ "$(id -u)" = 0 ] || echo sudo)
  $sudo "${APT[@]}" update
  $sudo env DEBIAN_FRONTEND=noninteractive "${APT[@]}" install -y --no-install-recommends "${missing[@]}" >/dev/null
}
