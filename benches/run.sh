#!/usr/bin/env bash
# Builds storeshift, the Go programs and the benchmark suite, and runs the suite: storeshift side by side with the Go
# migration, curves, limits, the shape of the result, a picture. `make bench` calls this; results are RESULTS.md,
# picture.svg and a line in HISTORY.tsv. Arguments go to the suite:
#
#   -parts warm,cold,picture,curves,formats,engines,limits,sync,resume,reads,micro   only some
#   -set k100|m1|medium|...                        set of the side-by-side table (medium)
#   -runs N                                        runs of each (3)
#   -large                                         ten million keys too
#   -out DIR                                       where the results go (benches)
#   -cgroup DIR                                    an empty memory cgroup of yours, for the limits; prlimit without
#
#   STORESHIFT_BENCH_DATA=DIR   the sets, made there if they are missing (7 GB, and 5 GB more with -large)
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
work=$CARGO_TARGET_DIR/bench
oracle=$CARGO_TARGET_DIR/tmp/oracle

echo "==> building" >&2
cargo build --release --locked --bin storeshift --example reads >&2
tests=
if [[ " $* " != *" -parts"* || " $* " == *micro* ]]; then # the hot steps are tests, which take minutes to compile
    tests=$(cargo test --release --locked --lib --no-run --message-format=json | sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -n 1)
fi
tests/oracle/build.sh "$oracle"
mkdir -p "$work"
(cd benches/suite && go build -buildvcs=false -o "$work/suite" .)
"$work/suite" -data "${STORESHIFT_BENCH_DATA:-$work/data}" -work "$work" -oracle "$oracle" \
    -storeshift "$CARGO_TARGET_DIR/release/storeshift" -reads "$CARGO_TARGET_DIR/release/examples/reads" -tests "$tests" "$@"
