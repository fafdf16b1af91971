#!/usr/bin/env bash
# Measures everything: instructions a request in process, promises kept on Redis, then what an endpoint costs to
# compile. Needs valgrind and redis-server, and crates.io for what is compared.
set -euo pipefail
cd "$(dirname "$0")"
./instructions.py
./redis.py --instructions
./compile_time.py
