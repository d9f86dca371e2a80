#!/bin/sh
# Makes tests/fixtures anew with mkv1, from the directory of the programs (default: bin beside this
# script) into the directory given second (default: ../fixtures). Same flags, same hashes; the
# files may differ in how the engine compacted them.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=${1:-$here/bin}
out=${2:-$here/../fixtures}

make() {
    name=$1
    shift
    rm -rf "${out:?}/$name"
    "$bin/mkv1" -out "$out/$name" -every 1 "$@" 2>&1 | tail -1 | sed "s/^/$name: /"
}

make small -stores 4 -versions 20 -keys 220 -updates 100 -val-min 0 -val-max 160 -large 2 -upgrade-at 12 -changesets 8 -extra 5 -write-buffer 256
make pruned -stores 4 -versions 25 -keys 220 -updates 120 -val-min 0 -val-max 160 -large 1 -seed 2 -changesets 5 -extra 3 -pruning everything -write-buffer 128
make initial -stores 2 -versions 18 -keys 120 -updates 60 -val-min 20 -val-max 160 -large 0 -seed 3 -changesets 10 -extra 3 -initial-version 1000000 -pruning 5 -idle
make idle -stores 3 -versions 24 -keys 150 -updates 80 -val-min 0 -val-max 120 -large 0 -seed 4 -changesets 23 -extra 6 -idle -write-buffer 128
make idle-pruned -stores 3 -versions 31 -keys 150 -updates 80 -val-min 0 -val-max 120 -large 0 -seed 5 -changesets 3 -extra 6 -idle -pruning everything -cache 1 -write-buffer 64
make nofast -stores 3 -versions 12 -keys 150 -updates 80 -val-min 0 -val-max 120 -large 0 -seed 6 -changesets 5 -extra 3 -no-fast
make unflushed -stores 3 -versions 14 -keys 150 -updates 80 -val-min 0 -val-max 120 -large 0 -seed 7 -changesets 5 -extra 3 -write-buffer 192 -unclosed
# In two runs: the first one's versions are in a table, the second one's in the write-ahead log.
make pebble -backend pebbledb -stores 3 -versions 10 -keys 90 -updates 50 -val-min 0 -val-max 120 -large 0 -seed 8 -changesets 0 -extra 0
"$bin/mkv1" -out "$out/pebble" -every 1 -continue -versions 4 -changesets 4 -extra 3 2>&1 | tail -1 | sed "s/^/pebble: /"
