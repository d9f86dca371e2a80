#!/bin/sh
# The export trap: plants faults in a copy of a database and lets the Go migration (migration.Manager, unchanged) migrate it.
# Prints a line for each: kind, verdict, keys and app hash that Go wrote, those of the sound database, and the node and store that were damaged.
#
#   trap.sh [BIN [DATABASE [KIND...]]]      tab-separated; default: bin beside this script, the fixture small, missing-leaf and missing-inner
#
# Verdicts: "silent": Go exits with 0 and has written another state; "same": Go exits with 0 and has written the right one;
# "error": Go fails. Of many nodes that are missing the importer notices by chance, as its stack does not work out: so the line is of the first seed
# from 1 to TRIES (40) that gives "silent", else of the last. SEED=N in the environment: this seed only. Plant the same again with plant -kind -seed.
# Exits with 1 if no fault was silent: then there is no trap any more.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=${1:-$here/bin}
from=${2:-$here/../fixtures/small/application.db}
[ $# -lt 2 ] || shift
[ $# -lt 1 ] || shift
[ $# -gt 0 ] || set -- missing-leaf missing-inner
first=${SEED:-1}
last=${SEED:-${TRIES:-40}}
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT

# "keys hash" of what Go has written, or nothing if it failed.
migrated() {
    rm -rf "$tmp/out"
    if "$bin/gomigrate" -from "$1" -to "$tmp/out/sc.db" >"$tmp/said" 2>&1; then
        sed -n 's/^height .* keys \([0-9]*\) .*/\1/p; s/^commit hash \([0-9a-f]*\) .*/\1/p' "$tmp/said" | paste -sd ' '
    fi
}

mkdir "$tmp/sound" # the reader leaves a lock
cp -r "$from" "$tmp/sound/application.db"
sound=$(migrated "$tmp/sound/application.db")
[ -n "$sound" ] || { cat "$tmp/said" >&2; exit 1; }
printf 'kind\tverdict\tkeys\tapp_hash\tsound_keys\tsound_app_hash\tstore\tnode\tseed\n'
silent=0
for kind; do
    seed=$first
    while :; do
        "$bin/plant" -from "$from" -to "$tmp/$kind/application.db" -kind "$kind" -seed "$seed" >"$tmp/planted"
        got=$(migrated "$tmp/$kind/application.db")
        rm -rf "${tmp:?}/$kind"
        case $got in
        '') verdict=error got='- -' ;;
        "$sound") verdict=same ;;
        *) verdict=silent silent=1 ;;
        esac
        if [ $verdict = silent ] || [ "$seed" -ge "$last" ]; then break; fi
        seed=$((seed + 1))
    done
    store=$(sed -n 's/^ "store": "\(.*\)",$/\1/p' "$tmp/planted")
    node=$(sed -n 's/^  "id": "\(.*\)",$/\1/p' "$tmp/planted")
    printf '%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n' "$kind" "$verdict" "${got% *}" "${got#* }" "${sound% *}" "${sound#* }" "${store:--}" "${node:--}" "$seed"
done
[ "$silent" = 1 ]
