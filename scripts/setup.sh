#!/usr/bin/env bash
# Sets this checkout up: .venv from the lock files, Triton in an environment of its own, Java and Maven for the embedded broker, promtool for the alert rules' tests.
# Runs again only what changed: each part leaves a stamp that names what it was made from. Installs system packages only as root on Debian.
set -euo pipefail
cd "$(dirname "$0")/.."

VENV=.venv
STAMPS=$VENV/stamps
TOOLS=.headrace/tools
TRITON=.headrace/triton

say() { printf 'setup: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }
is_debian() { command -v apt-get >/dev/null && command -v dpkg >/dev/null; }
may_install() { is_debian && [ "$(id -u)" = 0 ]; }

apt_updated=
apt_update() {
    [ -n "$apt_updated" ] || apt-get update -qq
    apt_updated=yes
}
apt_install() {
    say "installing $* (apt-get, once)"
    apt_update
    DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$@" </dev/null >/dev/null
}

# The Python 3.11 that the lock files were resolved for.
find_python() {
    local candidate
    for candidate in python3.11 python3 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; then
            command -v "$candidate"
            return
        fi
    done
    return 1
}

make_venv() {
    [ -x $VENV/bin/python ] && $VENV/bin/python -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' && return
    local python
    if ! python=$(find_python) && may_install; then
        apt_install python3.11 python3.11-venv || true
    fi
    python=$(find_python) || die "Python 3.11 is required, none is on the PATH; on Debian 12: apt-get install python3.11 python3.11-venv"
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        may_install || die "$python cannot make a virtual environment (no ensurepip); on Debian 12: apt-get install python3.11-venv"
        apt_install python3.11-venv
    fi
    say "making $VENV with $python"
    "$python" -m venv --clear $VENV
}

# Installs one lock file once: its stamp holds the hash of the lock.
install_lock() {
    local lock=$1 sum
    sum=$(sha256sum <"$lock")
    [ "$(cat "$STAMPS/$(basename "$lock")" 2>/dev/null)" = "$sum" ] && return
    say "installing $lock"
    shift
    "$@" --require-hashes -r "$lock" </dev/null
    printf '%s\n' "$sum" >"$STAMPS/$(basename "$lock")"
}

install_python_packages() {
    mkdir -p $STAMPS
    # The system's certificates, as pip uses them: a machine behind a proxy has the proxy's among them.
    export VIRTUAL_ENV=$PWD/$VENV UV_SYSTEM_CERTS=true
    $VENV/bin/python -m pip --version >/dev/null 2>&1 || $VENV/bin/python -m ensurepip >/dev/null
    install_lock requirements/uv.lock $VENV/bin/python -m pip install --quiet --disable-pip-version-check
    install_lock requirements/core.lock $VENV/bin/uv pip install --quiet
    install_lock requirements/dev.lock $VENV/bin/uv pip install --quiet
    install_lock requirements/encoder.lock $VENV/bin/uv pip install --quiet --no-deps
    local sum
    sum=$(cat pyproject.toml requirements/core.in | sha256sum)
    [ "$(cat $STAMPS/project 2>/dev/null)" = "$sum" ] && return
    say "installing headrace itself (editable)"
    $VENV/bin/uv pip install --quiet --no-deps --no-build-isolation --offline --editable .
    printf '%s\n' "$sum" >$STAMPS/project
}

# Installers leave no bytecode behind, and where the environment forbids Python to write any, every start of `headrace` would compile what it imports: six
# seconds. One import of everything writes it for good.
compile_what_is_imported() {
    local sum
    sum=$(cat requirements/*.lock | sha256sum)
    [ "$(cat $STAMPS/bytecode 2>/dev/null)" = "$sum" ] && return
    say "compiling the libraries that headrace imports (once)"
    env -u PYTHONDONTWRITEBYTECODE $VENV/bin/python -W ignore -c '
import spacy.lang.en, presidio_analyzer, pandas, pytest, hypothesis, faker, confluent_kafka.admin
import streams.pipeline, streams.run, streams.cli.main, streams.demo.show, streams.engines.files'
    printf '%s\n' "$sum" >$STAMPS/bytecode
}

# Triton's Python backend looks for a program for each Python version beside its library; the wheel keeps them elsewhere. Last, because it marks a complete install.
place_triton_stub() {
    local server=$TRITON/lib/python3.11/site-packages/pytriton/tritonserver
    local stub=backends/python/triton_python_backend_stub
    cp "$server/python_backend_stubs/3.11/triton_python_backend_stub" "$server/$stub.new"
    chmod 755 "$server/$stub.new"
    mv "$server/$stub.new" "$server/$stub"
}

# The model server, in an environment of its own: what it needs (numpy 1) excludes what core needs. Without it everything but models runs.
install_triton() {
    local sum
    sum=$(cat requirements/triton.lock requirements/triton-server.lock | sha256sum)
    [ "$(cat $TRITON/stamp 2>/dev/null)" = "$sum" ] && [ -x $TRITON/bin/python ] && return
    if [ "$(uname -sm)" != "Linux x86_64" ]; then
        say "missing: Triton, which models need; its wheel exists for Linux on x86_64 only, this is $(uname -sm). Everything but models works"
        return
    fi
    say "installing Triton into $TRITON (requirements/triton.lock, requirements/triton-server.lock)"
    rm -f $TRITON/stamp
    if $VENV/bin/uv venv --quiet --clear --python $VENV/bin/python $TRITON &&
        $VENV/bin/uv pip install --quiet --python $TRITON/bin/python --require-hashes -r requirements/triton.lock </dev/null &&
        $VENV/bin/uv pip install --quiet --python $TRITON/bin/python --no-deps --require-hashes -r requirements/triton-server.lock </dev/null &&
        place_triton_stub; then
        printf '%s\n' "$sum" >$TRITON/stamp
    else
        say "missing: Triton, which models need; its installation into $TRITON failed as said above. Everything but models works; then: make setup again"
    fi
}

# The embedded broker runs on Java; Maven resolves its jars. Without them `headrace demo` says what it cannot do.
install_java() {
    command -v java >/dev/null && command -v mvn >/dev/null && return
    if may_install; then
        apt_install openjdk-17-jre-headless maven
    else
        say "missing: Java 17 and Maven, which the embedded Kafka broker needs; on Debian: apt-get install openjdk-17-jre-headless maven"
    fi
}

# Debian's package would start a Prometheus server; only its promtool is wanted, so the package is unpacked, not installed.
unpack_promtool() {
    command -v promtool >/dev/null && return
    [ -x $TOOLS/promtool ] && return
    if ! is_debian; then
        say "missing: promtool, which the alert rules' tests need; it comes with Prometheus"
        return
    fi
    say "unpacking promtool from Debian's prometheus package into $TOOLS (once)"
    local box
    box=$(mktemp -d)
    [ "$(id -u)" != 0 ] || apt_update
    if (cd "$box" && apt-get download -qq -o APT::Sandbox::User=root prometheus >/dev/null && dpkg-deb -x prometheus_*.deb .); then
        mkdir -p $TOOLS
        mv "$box/usr/bin/promtool" $TOOLS/promtool
    else
        say "missing: promtool, which the alert rules' tests need; on Debian: apt-get update, then make setup again"
    fi
    rm -rf "$box"
}

make_venv
install_python_packages
compile_what_is_imported
install_triton
install_java
unpack_promtool
