#!/usr/bin/env bash
# schema.sh   tests a real server against its own OpenAPI document.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh
tools=.tools/schema
need python3=python3 ssh-keygen=openssh-client
python3 -c 'import venv, ensurepip' 2>/dev/null || need python3-venv-is-missing=python3-venv

# Written last, so that an interrupted installation is repeated.
wanted=$(sha256sum <tests/schema/requirements.txt)
if [ "$(cat "$tools/.installed" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --no-deps --requirement tests/schema/requirements.txt
  printf '%s\n' "$wanted" >"$tools/.installed"
fi
exec "$tools/bin/python" tests/schema/run.py "$@"
