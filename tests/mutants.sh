#!/usr/bin/env bash
# Breaks the machine in every small way that cargo-mutants knows, and runs the tests that explore it. What is left alive is to be
# explained in PROOF.md, or killed. The machine is pure and needs nothing but the model, so both are put into a crate of their own
# with those tests: a mutant then takes seconds.
#
#   tests/mutants.sh [OPTIONS of cargo mutants...]     for example --list, or --shard 0/10 for a tenth
set -euo pipefail
cd "$(dirname "$0")/.."
command -v cargo-mutants >/dev/null || { echo "cargo-mutants is missing: cargo install cargo-mutants --locked" >&2; exit 1; }
out=${CARGO_TARGET_DIR:-$PWD/target}/mutants
crate=$out/crate
rm -rf "$crate"
mkdir -p "$crate/src" "$crate/tests/machine"
cp -r src/model src/machine "$crate/src"
cp tests/memory/machine/states.rs tests/memory/machine/driver.rs "$crate/tests/machine"
printf '#![allow(missing_docs)]\npub mod machine;\npub mod model;\n' > "$crate/src/lib.rs"
printf '#[path = "machine/driver.rs"]\nmod driver;\n#[path = "machine/states.rs"]\nmod states;\n' > "$crate/tests/machine.rs"
wanted='^(blake3|serde|sha2|thiserror) = '
{
    printf '[package]\nname = "storeshift"\nversion = "0.1.0"\nedition = "2024"\n\n[lib]\ndoctest = false\n\n[dependencies]\n'
    sed -n '/^\[dependencies\]/,/^$/p' Cargo.toml | grep -E "$wanted"
    grep -E '^proptest = ' Cargo.toml | sed '1i [dev-dependencies]'
    printf '\n[profile.mutants]\ninherits = "release"\nopt-level = 1\nincremental = true\n\n[workspace]\n'
} > "$crate/Cargo.toml"
cp Cargo.lock "$crate"
export CARGO_TARGET_DIR=$out/build
exec cargo mutants --dir "$crate" --file 'src/machine/*.rs' --profile mutants --output "$out" "$@"
