#!/usr/bin/env bash
# Make sure that the interpreter "$1" can load the FluidSynth library; install it where that is possible without asking.
set -euo pipefail

python=$1
loads() { "$python" -c 'import fluidsynth' >/dev/null 2>&1; }

loads && exit 0

if ! "$python" -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec("fluidsynth") is None)'; then
    echo "FluidSynth: $python has no package pyfluidsynth; run: make environment" >&2
    exit 1
fi

case ${CONDA_PREFIX:+$CONDA_DEFAULT_ENV} in
"" | base)
    root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo -n)
    advice="sudo apt-get install libfluidsynth3 (Debian, Ubuntu) or brew install fluidsynth (macOS)"
    if command -v apt-get >/dev/null && "${root[@]}" true 2>/dev/null; then
        echo "FluidSynth: installing libfluidsynth3"
        "${root[@]}" apt-get update -qq </dev/null || true
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq libfluidsynth3 </dev/null || true
    fi
    ;;
*)
    advice="conda install -c conda-forge fluidsynth"
    echo "FluidSynth: installing it into the conda environment"
    "${CONDA_EXE:-conda}" install -y -q -p "$CONDA_PREFIX" -c conda-forge fluidsynth </dev/null || true
    ;;
esac

if ! loads; then
    echo "FluidSynth: the system library was not found; install it with: $advice" >&2
    exit 1
fi
