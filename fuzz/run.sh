#!/usr/bin/env bash
# Fuzzes a target on the pinned toolchain: fuzz/run.sh <target> [libFuzzer's options]
#
# New inputs that reach new code are written to fuzz/found/<target>, and inputs that fail to fuzz/artifacts. The layout
# is that of cargo-fuzz. With a nightly toolchain, its sanitizers work too: cargo +nightly fuzz run <target>
set -euo pipefail
cd "$(dirname "$0")"
target=$1
shift

flags="--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
for part in inline-8bit-counters pc-table trace-compares; do
    flags+=" -Cllvm-args=-sanitizer-coverage-$part"
done
flags+=" -Ccodegen-units=1 -Cdebug-assertions"
# With --target, cargo compiles build scripts and macros without these flags.
triple=$(rustc -vV | sed -n 's/host: //p')
RUSTFLAGS=$flags cargo build --release --target "$triple" --bin "$target"

mkdir -p "found/$target" artifacts
exec "target/$triple/release/$target" "found/$target" "corpus/$target" -artifact_prefix=artifacts/ -max_len=512 "$@"
