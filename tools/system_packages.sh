#!/usr/bin/env bash
# Install the programs and libraries that pip cannot, where that is possible without asking (as root, with a sudo that
# wants no password, or with conda): FluidSynth, which the interpreter "$1" must be able to load; and what "$2" needs:
# "test" Chromium, in which pages are tested, "weights" the soundfonts of training, "sealed" those of the sealed test.
# Where these cannot be installed the work goes on, and what needs them says so.
set -euo pipefail
source "${BASH_SOURCE[0]%/*}/apt.sh"

python=$1
purpose=${2:-}
has() { command -v "$1" >/dev/null; }
synth() { "$python" -c 'import fluidsynth; fluidsynth.Synth' >/dev/null 2>&1; }
browser() { has chromium || has chromium-browser || has google-chrome; }

conda=
case ${CONDA_PREFIX:+${CONDA_DEFAULT_ENV:-}} in
"" | base) ;;
*) conda=${CONDA_EXE:-conda} ;;
esac
updated=

# install DEBIAN CONDA: the package's names; without a second one there is no conda package. A failure shows later.
install() {
    if [ -n "$conda" ] && [ -n "${2:-}" ]; then
        echo "system packages: installing $2 into the conda environment"
        "$conda" install -y -q -p "$CONDA_PREFIX" -c conda-forge "$2" </dev/null || true
    elif can_install; then
        echo "system packages: installing $1"
        [ -n "$updated" ] || apt update || true
        updated=yes
        apt install -y --no-install-recommends "$1" || true
    fi
}

# advice DEBIAN CONDA BREW: the command to type.
advice() {
    if [ -n "$conda" ] && [ -n "$2" ]; then
        echo "conda install -c conda-forge $2"
    else
        echo "sudo apt-get install $1 (Debian, Ubuntu) or brew install $3 (macOS)"
    fi
}

if ! synth; then
    if ! "$python" -c 'import importlib.metadata; importlib.metadata.version("pyfluidsynth")' 2>/dev/null; then
        echo "FluidSynth: $python has no package pyfluidsynth; run: make environment" >&2
        exit 1
    fi
    install libfluidsynth3 fluidsynth
    if ! synth; then
        reason=$("$python" -c 'import fluidsynth; fluidsynth.Synth' 2>&1 || true)
        echo "FluidSynth: it cannot be loaded (${reason##*$'\n'}); install it with:" \
            "$(advice libfluidsynth3 fluidsynth fluidsynth)" >&2
        exit 1
    fi
fi

if [ "$purpose" = test ]; then
    browser || install chromium
    browser || echo "Chromium: not found, so that tests in a browser are skipped; install it with:" \
        "$(advice chromium "" "--cask chromium")" >&2
fi

if [ "$purpose" = weights ]; then
    [ -e /usr/share/sounds/sf2/FluidR3_GM.sf2 ] || install fluid-soundfont-gm
    [ -e /usr/share/sounds/sf3/MuseScore_General.sf3 ] || install musescore-general-soundfont
fi

if [ "$purpose" = sealed ]; then
    [ -e /usr/share/sounds/sf2/sf_GMbank.sf2 ] || install csound-soundfont
    [ -e node_modules/@coderline/alphatab ] || npm install --no-save --silent @coderline/alphatab@1.8.4 || true
fi
