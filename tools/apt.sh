# For other scripts to source: apt-get as root or through a sudo that wants no password. It asks nothing, and does not
# wait for ever: for a server, for another apt-get, or altogether.
root=(env)
[ "$(id -u)" -eq 0 ] || root=(sudo -n)

can_install() { command -v apt-get >/dev/null && "${root[@]}" true 2>/dev/null; }

apt() {
    "${root[@]}" timeout 900 env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 \
        -o Acquire::http::Timeout=30 -o Acquire::https::Timeout=30 -o DPkg::Lock::Timeout=120 "$@" </dev/null >/dev/null
}
