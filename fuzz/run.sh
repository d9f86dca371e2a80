#!/usr/bin/env bash
# Runs fuzz targets one after the other, FUZZ_SECONDS (60) each, and prints what they came to as a table. `make fuzz` calls this.
# Arguments are targets; without any it is all of them.
#
# Each begins with the inputs in corpus/ and with what earlier runs have found besides, which grows where the build's other files
# are; the checkout stays as it is. A target that fails does not end the run: the others follow, and in the end the inputs that failed
# are named with the command that repeats each, and this ends with 1.
set -uo pipefail
cd "$(dirname "$0")/.."
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-$PWD/target}
cargo=${CARGO:-cargo}
seconds=${FUZZ_SECONDS:-60}
grown=$CARGO_TARGET_DIR/fuzz-corpus
logs=$CARGO_TARGET_DIR/fuzz-logs
artifacts=fuzz/artifacts
mkdir -p "$grown" "$logs"

targets=("$@")
if ((${#targets[@]} == 0)); then
    mapfile -t targets < <("$cargo" +nightly fuzz list) || exit 1
fi
((${#targets[@]})) || { echo "there are no fuzz targets"; exit 1; }
printf '\n==> building %s targets\n' "${#targets[@]}"
if ((${#targets[@]} == 1)); then
    "$cargo" +nightly fuzz build "${targets[0]}" || exit 1
else
    "$cargo" +nightly fuzz build || exit 1
fi

# The last value that libFuzzer gave a name: of a line such as `#5000 REDUCE cov: 85 ft: 207 corp: 41/1Kb ...`.
last() {
    sed -n "s/.* $2: \([0-9][0-9]*\).*/\1/p" "$1" | tail -n 1
}

rows=() failures=() all_runs=0 all_corpus=0 all_seconds=0 all_failures=0
for target in "${targets[@]}"; do
    printf '\n==> %s\n' "$target"
    log=$logs/$target
    mkdir -p "$grown/$target" "$artifacts/$target"
    before=$(mktemp) began=$(date +%s)
    # Threads of a run may still be ending when leaks would be counted, which looks like one.
    "$cargo" +nightly fuzz run "$target" "$grown/$target" "fuzz/corpus/$target" -- \
        -max_total_time="$seconds" -detect_leaks=0 -print_final_stats=1 >"$log" 2>&1
    status=$?
    took=$(($(date +%s) - began))
    mapfile -t found < <(find "$artifacts/$target" -type f ! -name 'slow-unit-*' -newer "$before" | sort)
    rm -f "$before"
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -n 1)
    cov=$(last "$log" cov) ft=$(last "$log" ft)
    corpus=$(sed -n 's/.* corp: \([0-9][0-9]*\).*/\1/p' "$log" | tail -n 1)
    failed=${#found[@]}
    if ((status != 0 || failed > 0)); then
        tail -n 40 "$log"
        if ((failed == 0)); then
            failed=1
            failures+=("$target ended with $status and left no input: see $log")
        fi
        for input in "${found[@]}"; do
            failures+=("$input: $cargo +nightly fuzz run $target $input")
        done
    fi
    rows+=("| \`$target\` | ${runs:-0} | ${cov:-0} | ${ft:-0} | ${corpus:-0} | $took | $failed |")
    echo "${rows[-1]}"
    ((all_runs += ${runs:-0}, all_corpus += ${corpus:-0}, all_seconds += took, all_failures += failed))
done

printf '\n| target | executions | edges | features | corpus | seconds | failures |\n'
printf '| --- | --- | --- | --- | --- | --- | --- |\n'
printf '%s\n' "${rows[@]}"
echo "| all ${#targets[@]} | $all_runs | | | $all_corpus | $all_seconds | $all_failures |"
if ((all_failures > 0)); then
    printf '\nwhat failed, and how to repeat it:\n'
    printf '  %s\n' "${failures[@]}"
    exit 1
fi
