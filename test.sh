#!/usr/bin/env bash
# Runs every test.
set -euo pipefail
cd "$(dirname "$0")"

usage() {
    cat <<'EOF'
usage: ./test.sh [--faults] [arguments of cargo nextest run]

Runs every test of the workspace and the examples of its documentation. This takes three minutes on two cores after
everything is compiled.

  --faults   runs the tests with faults for longer, which takes three more minutes. Clients with cut connections,
             killed instances and paused stores run with more seeds, and the stores of records are compared with their
             model in eight times as many runs. Without --faults a short form of each test runs.

Tests of one package or with a name, without the examples of the documentation:
  ./test.sh -E 'package(aplomb-http-tests)'      ./test.sh -E 'test(a08_)'

Needs python3, patch, cc, redis-server 7 or newer, PostgreSQL 14 or newer and pgbouncer. As root on Debian it installs
the missing ones. The tests start servers of their own, and do not use a PostgreSQL that runs already.
EOF
}

faults=
case "${1-}" in
-h | --help) usage && exit ;;
--faults) faults=1 && shift ;;
esac

fail() {
    echo "error: $1" >&2
    exit 1
}

need() { # need <command> <Debian package>
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        echo "installing $2" >&2
        { apt-get update && apt-get install -y "$2"; } >/dev/null 2>&1 && return
    fi
    fail "the tests need $1: install it, for example with 'apt-get install $2'"
}

need python3 python3
need patch patch
need cc gcc
need redis-server redis-server
redis=$(redis-server --version | sed 's/.*v=\([0-9]*\).*/\1/')
[ "$redis" -ge 7 ] || fail "found redis-server $redis, the tests need 7 or newer: put a newer one first in PATH"
# Debian does not add the programs of these servers to the PATH.
compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null || need initdb postgresql
[ -x /usr/sbin/pgbouncer ] || need pgbouncer pgbouncer
cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest

[ -z "$faults" ] || export FAULTS=1

python3 tests/rules.py
# Most tests wait most of their time, so twice as many threads as cores keep the cores busy.
threads=$((2 * $(getconf _NPROCESSORS_ONLN)))
cargo nextest run --workspace --test-threads "$threads" "$@"
[ $# -gt 0 ] || cargo test --workspace --doc --quiet
