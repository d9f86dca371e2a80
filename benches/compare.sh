#!/usr/bin/env bash
# storeshift side by side with the Go migration (migration.Manager of store/v2, unchanged) on a million keys: alternating
# runs in one session, median of wall time, CPU, memory and size. `make bench` calls this; the result is RESULTS.md.
#
#   STORESHIFT_BENCH_DATA=DIR   the set, made there if it is missing (about 5 minutes, 1.4 GB)
#   STORESHIFT_BENCH_RUNS=N     runs of each, 3 unless given
set -euo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
work=$CARGO_TARGET_DIR/bench
data=${STORESHIFT_BENCH_DATA:-$work/medium}
runs=${STORESHIFT_BENCH_RUNS:-3}
go=$CARGO_TARGET_DIR/tmp/oracle
flags="-stores 10 -versions 40 -keys 100000 -genesis 10 -updates 20000 -extra 5"

echo "==> building" >&2
cargo build --release --locked >&2
tests/oracle/build.sh "$go"
if [ ! -f "$data/expected.json" ]; then
    echo "==> making $data with mkv1 $flags" >&2
    mkdir -p "$data"
    # shellcheck disable=SC2086
    "$go/mkv1" -out "$data" $flags >&2
fi
source=$data/application.db

runs_dir=$(mktemp -d "$work.XXXXXX")
trap 'rm -rf "$runs_dir"' EXIT
table=$runs_dir/table

# measure NAME OUTPUT COMMAND...: adds a line "name wall cpu rss size" to the table.
measure() {
    local name=$1 output=$2
    shift 2
    rm -rf "$output"
    sync
    /usr/bin/time -v -o "$runs_dir/time" "$@" >"$runs_dir/out" 2>&1 || { cat "$runs_dir/out" >&2; exit 1; }
    awk -v name="$name" -v size="$(du -sb "$output" | cut -f1)" '
        /Elapsed/ { n = split($NF, part, ":"); for (i = 1; i <= n; i++) wall = wall * 60 + part[i] }
        /User time|System time/ { cpu += $NF }
        /Maximum resident/ { rss = $NF / 1024 }
        END { printf "%s %.2f %.2f %.0f %.0f\n", name, wall, cpu, rss, size / 1e6 }' "$runs_dir/time" | tee -a "$table" >&2
}

load=$(cut -d' ' -f1-3 /proc/loadavg)
echo "==> load before: $load; wall s, CPU s, peak MiB, output MB:" >&2
cat "$source"/* >/dev/null # both find the source in the page cache
for _ in $(seq "$runs"); do
    measure go "$runs_dir/go" "$go/gomigrate" -from "$source" -to "$runs_dir/go/sc.db" -ss "$runs_dir/go/ss"
    rm -rf "$runs_dir/go"
    measure storeshift "$runs_dir/v2" "$CARGO_TARGET_DIR/release/storeshift" run --source "$source" --target "$runs_dir/v2"
    pairs=$(sed -n 's/^chunks .* \([0-9]*\) pairs$/\1/p' "$runs_dir/out")
    # The floor: every byte of the source read once, every byte of the result written once and synced.
    measure floor "$runs_dir/copy" sh -c 'cat "$1"/* >/dev/null; cat "$2"/sc/* "$2"/ss/* >"$3"; sync "$3"' - "$source" "$runs_dir/v2" "$runs_dir/copy"
done
load_after=$(cut -d' ' -f1-3 /proc/loadavg)

median() { awk -v name="$1" -v column="$2" '$1 == name { print $column }' "$table" | sort -n | awk '{ x[NR] = $1 } END { print (NR % 2) ? x[(NR + 1) / 2] : (x[NR / 2] + x[NR / 2 + 1]) / 2 }'; }
all() { awk -v name="$1" '$1 == name { printf "%s%s", (n++ ? ", " : ""), $2 }' "$table"; }
row() { echo "| $2 | $(median "$1" 2) | $(all "$1") | $(median "$1" 3) | $(median "$1" 4) | $(median "$1" 5) |"; }
ratio() { awk -v a="$(median go "$1")" -v b="$(median storeshift "$1")" 'BEGIN { printf "%.1f", a / b }'; }
clean=$(git diff --quiet HEAD -- src Cargo.toml Cargo.lock .cargo || echo ", with changes")

{
    echo "# Side by side with the Go migration"
    echo
    echo "Written by \`make bench\` ([compare.sh](compare.sh)); do not edit."
    echo
    echo "- When: $(date -u '+%Y-%m-%d %H:%M') UTC, load before $load, after $load_after"
    echo "- Machine: $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(awk '/MemTotal/ { printf "%.0f", $2 / 1048576 }' /proc/meminfo) GiB, Linux $(uname -r)"
    echo "- Commit: $(git rev-parse --short HEAD)$clean"
    echo "- Set: \`mkv1 $flags\`: 11 stores, $pairs pairs at version 40, $(du -sb "$source" | awk '{ printf "%.0f", $1 / 1e6 }') MB"
    echo "- Go: \`gomigrate -from … -to … -ss …\`: \`migration.Manager\` into SC on goleveldb and SS on PebbleDB"
    echo "- storeshift: \`storeshift run --source … --target …\`: SC and SS on RocksDB, every default; this includes proving the"
    echo "  source, reading the whole target back and proving it, which the Go migration does not do"
    echo "- Floor: the source read once, the result written once and synced, nothing else"
    echo
    echo "Medians of $runs runs, alternating, the source in the page cache."
    echo
    echo "| | wall s | each run | CPU s (user + sys) | peak RSS MiB | output MB |"
    echo "|---|---|---|---|---|---|"
    row go "Go migration"
    row storeshift storeshift
    row floor "copy and sync"
    echo "| **Go : storeshift** | **$(ratio 2)** | | **$(ratio 3)** | **$(ratio 4)** | **$(ratio 5)** |"
} >benches/RESULTS.md
cat benches/RESULTS.md
