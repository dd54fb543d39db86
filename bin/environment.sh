# Sourced by the launchers of this folder: sets $root and $python, and makes .venv when it is
# absent or when what it was made from (setup.cfg, pyproject.toml, the checkout's place, the
# interpreter) has changed. Says what it does on standard error only.

root=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/.." && pwd)
venv=$root/.venv
python=$venv/bin/python
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_NO_INPUT=1
unset PYTHONHOME

say() { printf '%s\n' "$*" >&2; }

# The first Python that is new enough and can make virtual environments.
find_python() {
    local candidate
    for candidate in ${PYTHON:-} python3 python3.11 /usr/bin/python3 python3.12 python3.13 python3.14; do
        if command -v "$candidate" >/dev/null &&
            "$candidate" -c 'import sys, venv, ensurepip; ensurepip.version(); sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return 0
        fi
    done
    return 1
}

install_python() {
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "Installing Debian's python3-venv ..."
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq >&2 && apt-get install -qq -y --no-install-recommends python3 python3-venv >&2
    else
        say "Python 3.11 or newer with its venv module is needed: apt-get install python3-venv (as root)."
        return 1
    fi
}

# need_environment [EXTRA]: what runs, and with EXTRA "test" also what the tests and checks use.
need_environment() {
    local extra=${1:-} state found
    state=$(cat "$root/setup.cfg" "$root/pyproject.toml" | cat - <(printf '%s' "$root") | sha256sum | cut -d' ' -f1)
    if fresh "$extra" "$state"; then return 0; fi
    # Two launchers at once: the second waits, then finds the work done.
    { exec 9>"$root/.venv.lock"; } 2>/dev/null || { say "$root cannot be written to."; return 1; }
    flock 9
    if ! fresh "$extra" "$state"; then
        if ! "$python" -c 'import pip' 2>/dev/null; then
            found=$(find_python) || { install_python && found=$(find_python); } ||
                { say "There is no Python that can make a virtual environment."; return 1; }
            say "Making $venv ..."
            rm -rf "$venv"
            "$found" -m venv "$venv" >&2 || return 1
        fi
        # An environment that also serves the tests goes on serving them.
        if [ -e "$venv/.made-for-test" ]; then extra=test; fi
        say "Installing into $venv (a minute or two, once) ..."
        rm -f "$venv"/.made-for-*
        "$python" -m pip install -qq --config-settings editable_mode=compat \
            -e "$root${extra:+[$extra]}" >&2 || return 1
        # Twisted keeps a list of plugins; written now, it need not be when somebody else runs us.
        "$python" -c 'from twisted.plugin import IPlugin, getPlugins; list(getPlugins(IPlugin))' || return 1
        printf '%s\n' "$state" >"$venv/.made-for-run"
        if [ "$extra" = test ]; then printf '%s\n' "$state" >"$venv/.made-for-test"; fi
    fi
    exec 9>&-
}

fresh() {
    [ -x "$python" ] && [ "$(cat "$venv/.made-for-${1:-run}" 2>/dev/null)" = "$2" ]
}
