# What a machine lacks and the commands that add it, for scripts/setup.sh, which sources this file.

# The distribution: "ubuntu 24.04", "debian 12".
distribution() { (. /etc/os-release 2>/dev/null && echo "${ID:-} ${VERSION_ID:-}"); }

# Where no Python >= 3.11 can make a virtual environment.
python_advice() {
    case "$(distribution)" in
    "ubuntu 22.04" | "ubuntu 20.04") # Their python3 is older. Those who maintain newer ones for Ubuntu: deadsnakes.
        echo "    sudo add-apt-repository -y ppa:deadsnakes/ppa"
        echo "    sudo apt-get install -y python3.12 python3.12-venv python3.12-dev"
        ;;
    *) echo "    sudo apt-get install -y python3-venv" ;;
    esac
}

# The Debian packages, if any, that PYTHON needs to compile modules in C, as Triton does while it runs.
compile_packages() {
    local version
    command -v gcc >/dev/null || echo gcc libc6-dev # gcc without recommended packages brings no headers
    version="$("$1" - <<'PYTHON'
import pathlib, sys, sysconfig
there = (pathlib.Path(sysconfig.get_path("include")) / "Python.h").is_file()
print("" if there else f"{sys.version_info.major}.{sys.version_info.minor}")
PYTHON
)"
    [ -z "$version" ] || echo "python$version-dev"
}

# Does Ubuntu's AppArmor keep programs without a profile from making user namespaces, as 24.04's does?
namespaces_restricted() { [ "$(cat /proc/sys/kernel/apparmor_restrict_unprivileged_userns 2>/dev/null)" = 1 ]; }

bwrap_version() { bwrap --version 2>/dev/null | sed -n 's/^bubblewrap //p'; }

# Can bubblewrap make a user namespace for a user without rights, as the sandbox does?
namespaces_work() {
    local drop=()
    [ "$(id -u)" != 0 ] || drop=(setpriv --reuid=65534 --regid=65534 --clear-groups --no-new-privs)
    "${drop[@]}" bwrap --unshare-user --ro-bind / / true 2>/dev/null
}

# With bubblewrap installed: why a sandbox cannot start here, and what to type. Nothing where it can.
sandbox_advice() {
    local version
    version="$(bwrap_version)"
    if [ "$(printf '%s\n' 0.8.0 "$version" | sort -V | head -n 1)" != 0.8.0 ]; then
        echo "bubblewrap $version is too old, the sandbox needs 0.8 or newer. Ubuntu 24.04 and Debian 12 have it; else build it:"
        echo "    sudo apt-get install -y meson ninja-build pkg-config libcap-dev git"
        echo "    git clone --depth 1 --branch v0.11.0 https://github.com/containers/bubblewrap"
        echo "    cd bubblewrap && meson setup build --prefix=/usr/local && sudo meson install -C build"
    elif ! namespaces_work && namespaces_restricted; then
        echo "AppArmor keeps bubblewrap from making user namespaces, as Ubuntu 24.04 sets it up. This allows it to bubblewrap alone:"
        echo "    sudo install -m 644 scripts/bwrap.apparmor /etc/apparmor.d/nano-r1-bwrap"
        echo "    sudo apparmor_parser -r /etc/apparmor.d/nano-r1-bwrap"
    fi
}
