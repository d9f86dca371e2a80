#!/bin/sh
# Builds the programs of the v0, v1 and v2 modules into a directory (default: bin beside this script).
# Nothing is linked again when nothing changed.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here/bin}
mkdir -p "$out"
out=$(cd "$out" && pwd)
for module in v0 v1 v2; do
    (cd "$here/$module" && go build -buildvcs=false -o "$out/" ./...)
done
