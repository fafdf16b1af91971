#!/usr/bin/env bash
# Runs every test. What they need beyond Rust is installed where it is missing.
set -euo pipefail
cd "$(dirname "$0")"

need() { # need <command> <Debian package>
    command -v "$1" >/dev/null && return
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        apt-get update -qq && apt-get install -y -qq "$2" && return
    fi
    echo "error: the tests need $1: install it, such as with 'apt-get install $2'" >&2
    exit 1
}

need python3 python3
need patch patch
need cc gcc
need redis-server redis-server
redis=$(redis-server --version | sed 's/.*v=\([0-9]*\).*/\1/')
if [ "$redis" -lt 7 ]; then
    echo "error: the tests need redis-server 7 or newer, and found $redis: put a newer one before it in PATH" >&2
    exit 1
fi
cargo nextest --version >/dev/null 2>&1 || cargo install --locked cargo-nextest

python3 tests/rules.py
cargo nextest run --workspace "$@"
cargo test --workspace --doc --quiet
