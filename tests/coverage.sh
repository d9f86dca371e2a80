#!/usr/bin/env bash
# Which share of the lines of parsers and recovery the tests reach; fails if it is less than LEAST percent of either.
#
#   tests/coverage.sh           build, run and measure (needs cargo-llvm-cov and the component llvm-tools)
#   tests/coverage.sh report    measure again what was run before
#
# Every file of src is in one group, by its name or a pattern; one that is in none or in two fails the run, so that a new file has to
# be put somewhere. Test modules within the files do not count. No line is left out by an attribute. What kills the program with
# SIGKILL is left out: such a process leaves no profile. The lines that are not reached are listed in coverage/missing beside the build.
set -euo pipefail
cd "$(dirname "$0")/.."
LEAST=95
target=${CARGO_TARGET_DIR:-$PWD/target}

# What decodes bytes, foreign or our own, and judges what they say.
parsers='
src/iavl/node.rs src/iavl/node_key.rs src/iavl/node_id.rs src/iavl/legacy.rs src/iavl/root.rs src/iavl/varint.rs src/iavl/reader.rs
src/iavl/prove.rs src/iavl/sweep.rs src/iavl/spine.rs src/iavl/lookup.rs src/iavl/sample.rs src/iavl/forest/*.rs src/iavl/merkle.rs
src/iavl/ics23/wire.rs
src/model/*.rs
src/source/commit_info.rs src/source/rootmulti.rs src/source/detect.rs src/source/engine.rs src/source/error.rs
src/source/lsm/*.rs src/source/leveldb/*.rs src/source/pebble/*.rs src/source/rocks/*.rs
src/source/snapshot/*.rs src/source/changes/*.rs
src/source/checkpoint/edits.rs src/source/checkpoint/engine.rs
src/target/commit_info.rs src/target/records.rs src/target/rocks/nodes.rs src/target/rocks/storage.rs src/target/rocks/runs/*.rs
src/target/rocks/manifest.rs
src/journal/codec.rs src/journal/record.rs src/journal/event.rs src/journal/control.rs src/journal/status.rs src/journal/switch.rs
src/journal/seal.rs src/journal/epoch.rs
src/plan/*.rs
'

# What brings a job, a target or a store back after it was cut off, and what decides whether it may go on.
recovery='
src/machine/*.rs src/reconcile.rs
src/journal/mod.rs src/journal/beside.rs src/journal/lock.rs src/journal/backend.rs src/journal/ours.rs src/journal/error.rs
src/migrator/mod.rs src/migrator/open.rs src/migrator/entrance.rs src/migrator/reading.rs src/migrator/recorder.rs src/migrator/renew.rs
src/migrator/repair.rs src/migrator/retained.rs src/migrator/verify.rs src/migrator/steps.rs src/migrator/switching.rs src/migrator/after.rs
src/migrator/still.rs src/migrator/guard.rs src/migrator/paths.rs src/migrator/chain.rs src/migrator/embed.rs
src/phases/*.rs src/phases/sync/*.rs
src/target/mod.rs src/target/place.rs src/target/ours.rs src/target/engines.rs src/target/error.rs src/target/pairs.rs
src/target/rocks/mod.rs src/target/rocks/bulk.rs src/target/rocks/commitment.rs
src/source/checkpoint/mod.rs src/source/checkpoint/trail.rs src/source/checkpoint/files.rs src/source/checkpoint/pass.rs
src/source/checkpoint/standstill.rs src/source/checkpoint/in_use.rs src/source/checkpoint/error.rs
src/root_store/mod.rs src/root_store/v2.rs src/root_store/rootmulti.rs src/root_store/layout.rs src/root_store/stand.rs
src/root_store/prune.rs src/root_store/retained.rs
src/live/*.rs
src/disk/*.rs
'

# The rest, for comparison only: trees that grow, writers, twins for tests, status and steering, the doctor, words.
others='
src/iavl/mod.rs src/iavl/memory.rs src/iavl/room.rs src/iavl/numbering.rs src/iavl/sha256/*.rs src/iavl/diff/*.rs src/iavl/growth/*.rs src/iavl/tree/*.rs
src/iavl/ics23/mod.rs src/iavl/ics23/key.rs src/iavl/ics23/store.rs
src/source/mod.rs src/source/memory.rs src/source/feed.rs src/source/iavl_stores.rs
src/target/memory.rs src/target/rocks/database.rs src/target/rocks/options.rs src/target/rocks/compaction.rs src/target/rocks/table/*.rs
src/migrator/estimate.rs src/migrator/running.rs src/migrator/status.rs src/migrator/steering.rs src/migrator/follow/*.rs
src/root_store/changeset.rs src/root_store/commit.rs src/root_store/database.rs src/root_store/error.rs src/root_store/gate.rs
src/root_store/observer.rs src/root_store/right_of_way.rs src/root_store/view.rs src/root_store/warm.rs
src/doctor/*.rs src/governor/*.rs src/cli/*.rs src/progress.rs src/error.rs src/lib.rs src/main.rs
'

# Files that are nothing but tests.
is_test() { case "$1" in */tests/* | */tests.rs | src/iavl/speed.rs) return 0 ;; *) return 1 ;; esac; }

grouped() {
    local group pattern file
    for group in parsers recovery others; do
        for pattern in ${!group}; do
            [ -e "$pattern" ] || { echo "$pattern: in the group $group and not there" >&2; return 1; }
            for file in $pattern; do is_test "$file" || printf '%s\t%s\n' "$group" "$file"; done
        done
    done
}

groups=$(grouped)
twice=$(cut -f2 <<<"$groups" | sort | uniq -d)
left=$(comm -23 <(find src -name '*.rs' | while read -r file; do is_test "$file" || echo "$file"; done | sort) <(cut -f2 <<<"$groups" | sort))
if [ -n "$twice$left" ]; then
    printf 'In two groups of tests/coverage.sh, or in none:\n%s\n%s\n' "$twice" "$left" >&2
    exit 1
fi

command -v cargo-llvm-cov >/dev/null || { echo "cargo-llvm-cov is missing: cargo install cargo-llvm-cov --locked" >&2; exit 1; }
if [ "${1:-}" != report ]; then
    cargo llvm-cov --release --locked --no-report --lib --test memory --test sweep --test binary --test live -- \
        --skip kill --skip power:: --skip hostile:: --skip speed
fi
mkdir -p "$target/coverage"
cargo llvm-cov report --release --lcov --output-path "$target/coverage/lcov" >/dev/null

awk -F'\t' -v least="$LEAST" -v here="$PWD/" -v missing="$target/coverage/missing" '
    # The lines of test modules, and of single items that are for tests only: from the attribute to the end of the item, which
    # stands as far to the right as the attribute does, as rustfmt has it.
    function tests_of(file, line, number, inside, indent, attribute) {
        delete of_tests
        while ((getline line < file) > 0) {
            number++
            if (!inside && line ~ /^ *#\[cfg\(test\)\]$/) { inside = 1; indent = line; sub(/#.*/, "", indent); of_tests[number]; continue }
            if (!inside) continue
            of_tests[number]
            attribute = line ~ /^ *#\[/
            if (line == indent "}" || (!attribute && line ~ "^" indent "[^ ].*(;|})$")) inside = 0
        }
        close(file)
    }
    function note(file, first, last) { print file ":" first (last > first ? "-" last : "") > missing }
    FILENAME != "-" && FNR == NR { group[$2] = $1; next }
    /^SF:/ { file = substr($0, 4); if (index(file, here) == 1) file = substr(file, length(here) + 1); kept = file in group; if (kept) tests_of(here file) }
    /^DA:/ && kept {
        split(substr($0, 4), part, ",")
        number = part[1]
        if (number in of_tests) next
        lines[file]++; all[group[file]]++
        if (part[2] > 0) { reached[file]++; all_reached[group[file]]++ } else open_lines[file] = open_lines[file] " " number
    }
    END {
        printf "" > missing
        split("parsers recovery others", order, " ")
        for (g = 1; g <= 3; g++) {
            name = order[g]
            printf "%-60s %8s %8s %8s\n", name, "lines", "reached", "%"
            count = 0
            for (file in lines) if (group[file] == name) names[++count] = file
            for (i = 2; i <= count; i++) for (j = i; j > 1 && names[j - 1] > names[j]; j--) { swap = names[j]; names[j] = names[j - 1]; names[j - 1] = swap }
            for (i = 1; i <= count; i++) {
                file = names[i]
                printf "  %-58s %8d %8d %8.1f\n", file, lines[file], reached[file], 100 * reached[file] / lines[file]
                if (name == "others") continue
                last = split(open_lines[file], at, " ")
                for (k = 1; k <= last; k = m) { for (m = k + 1; m <= last && at[m] == at[m - 1] + 1; m++); note(file, at[k], at[m - 1]) }
            }
        }
        print ""
        for (g = 1; g <= 3; g++) {
            name = order[g]
            share = 100 * all_reached[name] / all[name]
            printf "%-60s %8d %8d %8.2f\n", name, all[name], all_reached[name], share
            if (name != "others" && share < least) { printf "%s: less than %d %%; see %s\n", name, least, missing; low = 1 }
        }
        exit low
    }
' <(printf '%s\n' "$groups") "$target/coverage/lcov"
