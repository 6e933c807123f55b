#!/bin/sh
# Makes .venv with the pinned requirements; does nothing when they are installed already.
# Needs Python 3.11 or newer; where ensurepip is missing, root gets the package python3-venv, others one line that names it.
set -eu
cd "$(dirname "$0")/.."
python=""
for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    [ -n "$candidate" ] || continue
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null; then
        python=$candidate
        break
    fi
done
[ -n "$python" ] || { echo "Python 3.11 to 3.13 is needed; install it, or name it: make PYTHON=/path/to/python3.12" >&2; exit 1; }
wanted=$(cat requirements/dev.txt | cksum)
[ "$(cat .venv/installed 2>/dev/null)" = "$wanted" ] && exit 0
if [ ! -x .venv/bin/pip ]; then
    rm -rf .venv
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3-venv >&2
        else
            echo "Python's ensurepip is missing; install it with: apt-get install python3-venv" >&2
            exit 1
        fi
    fi
    "$python" -m venv .venv
fi
.venv/bin/pip install --quiet --disable-pip-version-check -r requirements/dev.txt
echo "$wanted" > .venv/installed
