#!/bin/sh
# Builds what writes databases with cosmos-db's RocksDB backend into BIN/rocks: mkv1 and torocks. Needs cgo and the RocksDB 7.8 of
# Debian 12 (librocksdb-dev, libsnappy-dev, liblz4-dev, libzstd-dev, zlib1g-dev); no test needs these programs.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/bin}/rocks
mkdir -p "$out"
out=$(cd "$out" && pwd)
cd "$here/v1"
CGO_ENABLED=1 go build -buildvcs=false -tags rocksdb -modfile rocks.mod -o "$out/" ./mkv1 ./torocks
