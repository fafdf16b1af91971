#!/usr/bin/env bash
# Runs all measurements: instructions of a request in process, policies on Redis, and compile time of an endpoint.
# Needs valgrind and redis-server, and crates.io for the crates of the comparison.
set -euo pipefail
cd "$(dirname "$0")"
./instructions.py
./redis.py --instructions
./compile_time.py
