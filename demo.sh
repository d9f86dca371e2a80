#!/usr/bin/env bash
# A migration from beginning to end on a bundled database, killed half-way with -9. `make demo` builds and calls this.
set -euo pipefail
cd "$(dirname "$0")"
program=${1:?the storeshift program}
plan=migrations/demo.toml
target=target/demo

say() { printf '\n\033[1m%s\033[0m\n' "$*"; }
show() { printf '$ storeshift %s\n' "$*"; "$program" "$@"; }

# Begins in a new target and kills the program as soon as it has written a few chunks. The database is so small that this
# is a matter of milliseconds.
begin_and_kill() {
    rm -rf "$target"
    mkdir -p "$target"
    "$program" run --plan "$plan" 2>/dev/null >"$target.out" &
    local pid=$! tables=()
    while kill -0 "$pid" 2>/dev/null; do
        tables=("$target"/sc/*.sst)
        [ ${#tables[@]} -lt 3 ] || break
    done
    kill -9 "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
    rm -f "$target.out"
    # Half-way: some chunks are on record, not all.
    state=$("$program" journal --plan "$plan" 2>/dev/null | grep '^state' || true)
    [[ $state =~ "Restoring version "[0-9]+": "([0-9]+)" of "([0-9]+)" chunks durable" ]] && ((BASH_REMATCH[1] > 0 && BASH_REMATCH[1] < BASH_REMATCH[2]))
}

say "1. What would happen? (writes nothing)"
rm -rf "$target"
show plan --plan "$plan"

say "2. Begin, and kill -9 half-way"
shopt -s nullglob
for attempt in {1..20}; do
    if begin_and_kill; then break; fi
    if [ "$attempt" = 20 ]; then
        echo "It was done each time before it could be killed: what follows is a whole run, not a resumed one."
        rm -rf "$target"
    fi
done

if [ -d "$target" ]; then
    say "3. What is on record, after the kill?"
    echo "\$ storeshift journal --plan $plan"
    "$program" journal --plan "$plan" | sed -n '/^job/p;/^state/p;$p'
fi

say "4. The same command again continues"
show run --plan "$plan" | tee "$target.out"
hash=$(sed -n 's/^app hash *\([0-9a-f]*\).*/\1/p' "$target.out")
rm -f "$target.out"

show status --plan "$plan"

say "5. Is it the chain's state?"
expected=tests/fixtures/small/expected.json
latest=$(sed -n 's/.*"latest_version": \([0-9]*\).*/\1/p' "$expected")
chain=$(sed -n "/\"version\": $latest,/{n;s/.*\"app_hash\": \"\([0-9a-f]*\)\".*/\1/p}" "$expected")
echo "app hash of version $latest, as the Cosmos SDK's own code computed it: $chain"
echo "app hash of version $latest, recomputed from the new database:         $hash"
[ -n "$hash" ] && [ "$hash" = "$chain" ] || { echo "They differ."; exit 1; }
echo "They are equal."

say "6. Prove the result again, every chunk, and against the source"
show verify --plan "$plan"

say "Done. The new database is in $target; migrations/full.toml explains the plan for your own."
