#!/usr/bin/env bash
# words.sh   checks the spelling (typos.toml) and finds words that the project has retired.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/packages.sh
tools=.tools/words
need python3=python3
python3 -c 'import venv, ensurepip' 2>/dev/null || need python3-venv-is-missing=python3-venv

# Written last, so that an interrupted installation is repeated.
wanted=$(sha256sum <tests/words/requirements.txt)
if [ "$(cat "$tools/.installed" 2>/dev/null)" != "$wanted" ]; then
  rm -rf "$tools"
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --no-deps --requirement tests/words/requirements.txt
  printf '%s\n' "$wanted" >"$tools/.installed"
fi
status=0
"$tools/bin/typos" --format brief || status=1
python3 tests/words/retired.py || status=1
exit $status
