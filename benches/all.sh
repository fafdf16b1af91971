#!/usr/bin/env bash
# Measures everything: instructions a request in process, then promises kept on Redis. Needs valgrind and redis-server.
set -euo pipefail
cd "$(dirname "$0")"
./instructions.py
./redis.py --instructions
