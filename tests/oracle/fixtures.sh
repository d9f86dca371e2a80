#!/bin/sh
# Makes tests/fixtures anew with mkv1 and mkv0, from the directory of the programs (default: bin beside
# this script) into the directory given second (default: ../fixtures); after that, names of sets: these only.
# Same flags, same hashes; the files may differ in how the engine compacted them. `pruned-rocksdb` takes
# the program of rocks.sh.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
bin=${1:-$here/bin}
out=${2:-$here/../fixtures}
[ $# -lt 2 ] || shift
[ $# -lt 1 ] || shift
only="$*"

wanted() { case " ${only:-$1} " in *" $1 "*) ;; *) return 1 ;; esac; }

make() {
    name=$1
    shift
    wanted "$name" || return 0
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

# Legacy nodes: mkv0, and mkv1 goes on from there (after --). For the sets without versions of IAVL 1.x, live ones are made by it too.
legacy() {
    name=$1
    shift
    wanted "$name" || return 0
    rm -rf "${out:?}/$name"
    v0=
    while [ "$1" != -- ]; do
        v0="$v0 $1"
        shift
    done
    shift
    "$bin/mkv0" -out "$out/$name" -every 1 -changesets 100 $v0 2>/dev/null
    case " $* " in
    *" -versions 0 "*) # the database stays as v0 left it
        cp -r "$out/$name" "$out/$name.tmp"
        "$bin/mkv1" -continue -out "$out/$name.tmp" -every 1 "$@" 2>&1 | tail -1 | sed "s/^/$name: /"
        mv "$out/$name.tmp/expected.json" "$out/$name.tmp/changesets.bin" "$out/$name/"
        rm -r "$out/$name.tmp"
        ;;
    *) "$bin/mkv1" -continue -out "$out/$name" -every 1 -changesets 100 "$@" 2>&1 | tail -1 | sed "s/^/$name: /" ;;
    esac
    "$bin/dump" -from "$out/$name/application.db" -expected "$out/$name/expected.json"
    rm -f "$out/$name/application.db/LOCK"
}

common="-stores 3 -keys 48 -updates 22 -val-min 0 -val-max 50 -large 0"
legacy legacy $common -versions 18 -idle 18 -still 10 -still 11 -seed 8 -write-buffer 96 -- -versions 0 -extra 4
legacy legacy-holes $common -versions 31 -seed 9 -pruning 3 -keep-every 4 -write-buffer 64 -- -versions 0 -extra 3
legacy legacy-pruned $common -versions 21 -idle 21 -seed 10 -pruning everything -write-buffer 48 -- -versions 0 -extra 3
legacy mixed $common -versions 16 -idle 16 -still 17 -still 18 -seed 11 -write-buffer 64 -- -versions 7 -extra 3 -write-buffer 64
legacy mixed-pruned $common -versions 17 -idle 17 -still 18 -seed 12 -write-buffer 64 -- -versions 15 -extra 3 -pruning everything -write-buffer 64
legacy mixed-upgrade $common -versions 9 -upgrade-at 13 -still 10 -seed 13 -write-buffer 64 -- -versions 7 -extra 3 -write-buffer 64
legacy mixed-clash -stores 1 -keys 12 -updates 6 -val-max 30 -val-min 0 -large 0 -versions 17 -idle 24 -still 18 -seed 14 -- -versions 7 -extra 3

# The same as `pruned`, by cosmos-db on RocksDB: expected.json and changesets.bin are those of `pruned`.
if [ -x "$bin/rocks/mkv1" ] && wanted pruned-rocksdb; then
    kept=$(mktemp -d)
    "$bin/rocks/mkv1" -out "$kept" -every 1 -backend rocksdb -stores 4 -versions 25 -keys 220 -updates 120 -val-min 0 -val-max 160 -large 1 -seed 2 -changesets 5 -extra 3 -pruning everything -write-buffer 256 2>&1 | tail -1 | sed "s/^/pruned-rocksdb: /"
    cmp "$kept/changesets.bin" "$out/pruned/changesets.bin"
    rm -rf "${out:?}/pruned-rocksdb"
    mkdir "$out/pruned-rocksdb"
    mv "$kept/application.db" "$out/pruned-rocksdb/"
    rm -rf "$kept"
fi

# State sync snapshots of versions that changesets.bin goes on from, as they lie in a node's data directory.
snapshot() {
    wanted "$1" || return 0
    rm -rf "${out:?}/$1/snapshots"
    tmp=$(mktemp -d)
    "$bin/snapv1" -dir "$out/$1" -version "$2" -out "$tmp"
    rm -f "$tmp/snapshots/metadata.db/LOG" "$tmp/snapshots/metadata.db/LOCK" "$tmp/snapshots/metadata.db/CURRENT.bak"
    mv "$tmp/snapshots" "$out/$1/snapshots"
    rm -rf "$tmp"
}

snapshot initial 1000008
snapshot idle 1
snapshot nofast 8

# In two runs: the first one's versions are in a table, the second one's in the write-ahead log.
make pebble -backend pebbledb -stores 3 -versions 10 -keys 90 -updates 50 -val-min 0 -val-max 120 -large 0 -seed 8 -changesets 0 -extra 0
! wanted pebble || "$bin/mkv1" -out "$out/pebble" -every 1 -continue -versions 4 -changesets 4 -extra 3 2>&1 | tail -1 | sed "s/^/pebble: /"

# As small as can be: every bit of them is flipped (tests/sweep). The first versions are in a table, the last one in the log.
tiny="-stores 1 -keys 4 -updates 3 -val-min 0 -val-max 8 -large 0 -seed 21"
make tiny $tiny -versions 2 -changesets 0 -extra 0
! wanted tiny || "$bin/mkv1" -out "$out/tiny" -every 1 -continue -versions 1 -changesets 1 -extra 0 2>&1 | tail -1 | sed "s/^/tiny: /"
# PebbleDB's log is in a table once it was opened again, so these are two.
make tiny-pebble -backend pebbledb $tiny -versions 2 -changesets 0 -extra 0
! wanted tiny-pebble || "$bin/mkv1" -out "$out/tiny-pebble" -every 1 -continue -versions 1 -changesets 1 -extra 0 2>&1 | tail -1 | sed "s/^/tiny-pebble: /"
make tiny-pebble-log -backend pebbledb $tiny -versions 3 -changesets 1 -extra 0
