#!/usr/bin/env python3
"""Prints what a request costs in instructions, and as a ratio to hand-written axum.

Needs valgrind. Each scenario runs twice under callgrind, with a few requests and with more; the
difference is divided by the number of requests between, and the harness (a request made,
answered at once, and its body read) is subtracted.
"""

import re
import subprocess
import sys

FEW, MORE = 100, 600
ROWS = [
    ("GET with a path parameter, small JSON", "harness-get", "hand-get", [
        ("endpoint without policy", "bare-get"),
        ("version, authentication, rate limit, deadline", "full-get"),
    ]),
    ("POST JSON, 201 with JSON", "harness-post", "hand-post", [
        ("endpoint without policy", "bare-post"),
        ("version, authentication, rate limit", "limited-post"),
        ("the same, idempotent, deadline, body limit: new key", "full-post"),
        ("the same: replay", "replay-post"),
    ]),
]


def build():
    command = ["cargo", "build", "--quiet", "--release", "-p", "aplomb-benches"]
    subprocess.run(command, check=True)
    metadata = subprocess.run(["cargo", "metadata", "--no-deps", "--format-version", "1"],
                              check=True, capture_output=True, text=True).stdout
    return re.search(r'"target_directory":"([^"]+)"', metadata).group(1) + "/release/requests"


def total(program, scenario, count):
    command = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, scenario, str(count)]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stderr
    return int(re.search(r"Collected : (\d+)", output).group(1))


def cost(program, scenario):
    return (total(program, scenario, MORE) - total(program, scenario, FEW)) / (MORE - FEW)


def main():
    program = build()
    print("| | instructions net | ratio |\n|---|---|---|")
    for title, harness, hand, others in ROWS:
        floor = cost(program, harness)
        base = cost(program, hand) - floor
        print(f"| {title}: hand-written axum | {base / 1000:.1f} k | 1.00 |")
        for name, scenario in others:
            net = cost(program, scenario) - floor
            print(f"| {name} | {net / 1000:.1f} k | {net / base:.2f} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
