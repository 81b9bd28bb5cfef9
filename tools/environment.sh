#!/usr/bin/env bash
# Make the virtual environment whose interpreter is "$1" (.venv/bin/python) if it is not there yet. Python 3.11 is
# preferred; where Debian's python3-venv is missing it is installed, or the command to do so is printed.
set -euo pipefail

python=$1
if "$python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi
case $python in
*.venv/bin/python) ;;
*)
    echo "environment: $python has no pip; install it with: conda install pip" >&2
    exit 1
    ;;
esac

base=
for candidate in python3.11 python3 python3.12 python3.13; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' >/dev/null 2>&1; then
        base=$candidate
        break
    fi
done
if [ -z "$base" ]; then
    echo "environment: no Python 3.11, 3.12 or 3.13 was found; install one, for example with: apt-get install python3.11" >&2
    exit 1
fi

if ! "$base" -c 'import ensurepip, venv' >/dev/null 2>&1; then
    package=$("$base" -c 'import sys; print(f"python{sys.version_info[0]}.{sys.version_info[1]}-venv")')
    root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo -n)
    if command -v apt-get >/dev/null && "${root[@]}" true 2>/dev/null; then
        echo "environment: installing $package"
        "${root[@]}" apt-get update -qq </dev/null
        "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "$package" </dev/null
    else
        echo "environment: $base cannot make virtual environments; run: sudo apt-get install $package" >&2
        exit 1
    fi
fi

# --clear: what is left of an interrupted attempt would be in the way.
"$base" -m venv --clear "${python%/bin/python}"
