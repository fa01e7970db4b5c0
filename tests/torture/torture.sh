#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# torture -- strikes the store for as long as told, in every way there is, and prints its counts.
#
#     make torture [SECONDS=600] [SEED=N]
#
# The time is shared by the simulated disk (crashes, failing calls and allocations, flipped bits),
# a storm of kills of a real daemon, tampering and the fuzz targets; the mutations of the source come
# last and take what they take. The exit status is 1 at the first violation, whose seed is printed.
set -euo pipefail
cd "$(dirname "$0")/../.."
seconds=${1:-600}
seed=${2:-$(date +%s)}
[ "$seconds" -ge 10 ] || { echo "torture takes 10 seconds at least" >&2; exit 2; }
echo "seed $seed, $seconds s"
each=$((seconds / 10))
states=build/tests/torture/states
ninja -C build daybook daybook-verify tests/torture/states tests/torture/tamper_book >/dev/null
"$states" --kind crash --seed "$seed" --seconds $((each * 2)) | tail -n 1
"$states" --kind calls --seed "$seed" --seconds "$each" | tail -n 1
"$states" --kind alloc --seed "$seed" --seconds "$each" | tail -n 1
"$states" --kind bits --seed "$seed" --seconds "$each" | tail -n 1
python3 tests/torture/storm.py --seed "$seed" --seconds $((each * 3)) --parallel 4 | tail -n 1
python3 tests/torture/tamper.py --seed "$seed" --count $((each * 10)) | tail -n 1
python3 tests/torture/fuzz.py --seed "$seed" --seconds $((each * 2)) | tail -n 1
python3 tests/torture/mutations.py | tail -n 1
