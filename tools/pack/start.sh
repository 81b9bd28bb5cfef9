#!/usr/bin/env bash
# The one command: makes the environment (.venv, once), looks whether everything is there, opens the notebooks.
# `bash start.sh check` stops before the last step. PYTHON=path/to/python uses that interpreter as it is.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

python=${PYTHON:-.venv/bin/python}
if [ -z "${PYTHON:-}" ] && ! [ -e .venv/installed ]; then
    for base in python3.11 python3 python3.12 python3.13 ''; do
        [ -n "$base" ] || { echo "start: install Python 3.11, 3.12 or 3.13 first" >&2; exit 1; }
        "$base" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null && break
    done
    echo 'Installing what requirements.txt lists into .venv (about 5 GB on Linux, a few minutes)'
    "$base" -m venv .venv
    .venv/bin/python -m pip install -q -r requirements.txt
    touch .venv/installed
fi
bash tools/system_packages.sh "$python"

# Chapters import the library from here, and their pages find sounds at ../audio.
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
mkdir -p build/quick/audio
[ -e audio ] || ln -s build/quick/audio audio

"$python" check_pack.py
[ "${1:-}" = check ] || exec "$python" -m jupyterlab
