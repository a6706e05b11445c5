#!/usr/bin/env bash
# Has a fuzzer that learns from what it reached try one target, for ten minutes or so many seconds:
#   tests/fuzz/run.sh TARGET [SECONDS]
# What it learned is kept in tests/fuzz/__fuzz__, where `cargo test` tries it again. Takes a nightly toolchain.
set -euo pipefail
cd "$(dirname "$0")/../.."
target=$1
seconds=${2:-600}

flags="--cfg fuzzing --cfg fuzzing_libfuzzer -Cpasses=sancov-module"
for what in level=4 inline-8bit-counters pc-table trace-compares stack-depth; do
    flags+=" -Cllvm-args=-sanitizer-coverage-$what"
done
# The program is built beside the targets, has no fuzzer in it, and is not run.
flags+=" -Clink-arg=-Wl,--unresolved-symbols=ignore-all"

host=$(rustc -vV | sed -n 's/^host: //p')
export BOLERO_FUZZER=libfuzzer
# Unoptimised, the fuzzer itself takes most of the time.
build=$(RUSTFLAGS=$flags cargo +nightly test --locked --config 'profile.dev.package.bolero-libfuzzer.opt-level=3' --target "$host" --test fuzz --no-run 2>&1) || {
    echo "$build" >&2
    exit 1
}
program=$(sed -n 's/.*Executable .*(\(.*\))/\1/p' <<<"$build")

# Read to its end: a list whose reader is gone ends with an error.
if ! "$program" --list | grep -x "$target: test" >/dev/null; then
    echo "$target is no target; these are: $("$program" --list | sed -n 's/: test$//p' | tr '\n' ' ')" >&2
    exit 2
fi
kept=tests/fuzz/__fuzz__/$target
# Those that begin in one function share what they learned.
case $target in node::*) kept=tests/fuzz/__fuzz__/node__try_all ;; esac
mkdir -p "$kept/corpus" "$kept/crashes"
export BOLERO_TEST_NAME=$target BOLERO_LIBTEST_HARNESS=1
export BOLERO_LIBFUZZER_ARGS="$kept/corpus -artifact_prefix=$kept/crashes/ -max_total_time=$seconds -print_final_stats=1"
exec "$program" "$target" --exact --nocapture
