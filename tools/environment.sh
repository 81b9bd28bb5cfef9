#!/usr/bin/env bash
# Make the environment of the interpreter "$1" ready: .venv/bin/python is made if it is not there, and what pyproject.toml
# lists is installed at the versions of requirements.lock. Nothing is done where neither file has changed since. Python
# 3.11 is preferred; where Debian's python3-venv is missing it is installed, or the command to do so is printed.
set -euo pipefail
source "${BASH_SOURCE[0]%/*}/apt.sh"

python=$1
prefix=${python%/bin/python}
stamp=$prefix/.ast-companion-installed
log=$prefix/.ast-companion-installed.log

if [ "$stamp" -nt pyproject.toml ] && [ "$stamp" -nt requirements.lock ] && [ -x "$python" ]; then
    exit 0
fi

fail() {
    echo "environment: $*" >&2
    exit 1
}

make_environment() {
    local base= candidate package
    for candidate in python3.11 python3 python3.12 python3.13; do
        if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1; then
            base=$candidate
            break
        fi
    done
    [ -n "$base" ] ||
        fail "no Python 3.11, 3.12 or 3.13 was found; install one, for example with: apt-get install python3.11"

    if ! "$base" -c 'import ensurepip, venv' >/dev/null 2>&1; then
        package=$("$base" -c 'import sys; print(f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")')
        if can_install; then
            echo "environment: installing $package"
            apt update
            apt install -y "$package"
        else
            fail "$base cannot make virtual environments; run: sudo apt-get install $package"
        fi
    fi
    # --clear: what is left of an interrupted attempt would be in the way.
    "$base" -m venv --clear "$prefix"
}

if ! "$python" -m pip --version >/dev/null 2>&1; then
    case $python in
    *.venv/bin/python) make_environment ;;
    *) fail "$python has no pip; install it with: conda install pip" ;;
    esac
fi

"$python" -c 'import platform, sys; sys.exit(sys.platform == "darwin" and platform.machine() == "x86_64")' ||
    fail "PyTorch 2.10 and later have no build for a Mac's Intel processor (nor for an Intel Python on Apple silicon);" \
        "use an arm64 Python, or Linux"

echo 'Installing what pyproject.toml lists, at the versions of requirements.lock (about 5 GB on Linux, a few minutes)'
if ! "$python" -m pip install -c requirements.lock -e '.[book,test]' >"$log" 2>&1 </dev/null; then
    tail -n 30 "$log" >&2
    fail "pip failed, for the reason above; all that it said is in $log"
fi
"$python" "${0%/*}/compile_metrics.py"
: >"$stamp"
