#!/usr/bin/env bash
# Breaks the machine, the journal and what reconciles them in every small way that cargo-mutants knows, and runs the tests that judge
# them. What is left alive is to be killed, or, where it changes nothing, to be left out below for a reason. Each is put into a crate of
# its own with those tests, so that a mutant takes seconds: the machine with the model, which is all it needs; the journal, the error and
# reconcile on top of a crate that has what is below them, and is compiled once.
#
#   tests/mutants.sh [OPTIONS of cargo mutants...]     for example --list, or --shard 0/10 for a tenth, or --re reconcile
set -euo pipefail
cd "$(dirname "$0")/.."
for option; do
    case $option in -j* | --jobs*) echo "$option: all jobs would build in one place, and judge each other's mutants" >&2; exit 2 ;; esac
done
command -v cargo-mutants >/dev/null || { echo "cargo-mutants is missing: cargo install cargo-mutants --locked" >&2; exit 1; }
out=${CARGO_TARGET_DIR:-$PWD/target}/mutants
export CARGO_TARGET_DIR=$out/build

# A manifest for a crate of this name; of the library's dependencies the ones that match, or all but those that do not.
manifest() {
    printf '[package]\nname = "%s"\nversion = "0.1.0"\nedition = "2024"\n\n[lib]\ndoctest = false\n' "$1"
    printf '\n[dependencies]\n'
    sed -n '/^\[dependencies\]/,/^$/p' Cargo.toml | grep ' = ' | grep "${@:2}"
}
tests_and_profile() {
    printf '\n[dev-dependencies]\n'
    sed -n '/^\[dev-dependencies\]/,/^$/p' Cargo.toml | grep -E "^($1) = "
    # What is not mutated is compiled once, and may be fast.
    printf '\n[profile.mutants]\ninherits = "release"\nopt-level = 1\nincremental = true\n\n[profile.mutants.package."*"]\nopt-level = 3\n'
    printf '\n[profile.mutants.package.storeshift]\nopt-level = %s\n' "$2"
    printf '\n[workspace]\n'
}
mutants() {
    cp Cargo.lock rust-toolchain.toml "$crate"
    cargo mutants --dir "$crate" --profile mutants --output "$crate.mutants" "${@}" || failed=$?
}
failed=0

crate=$out/machine
rm -rf "$crate"
mkdir -p "$crate/src" "$crate/tests/machine"
cp -r src/model src/machine "$crate/src"
cp tests/memory/machine/states.rs tests/memory/machine/driver.rs "$crate/tests/machine"
printf '#![allow(missing_docs)]\npub mod machine;\npub mod model;\n' > "$crate/src/lib.rs"
printf '#[path = "machine/driver.rs"]\nmod driver;\n#[path = "machine/states.rs"]\nmod states;\n' > "$crate/tests/machine.rs"
{ manifest storeshift -E '^(blake3|serde|sha2|thiserror) = '; tests_and_profile proptest 1; } > "$crate/Cargo.toml"
mutants --file 'src/machine/*.rs' "$@"

crate=$out/journal
below='disk governor iavl machine model phases plan progress source target'
rm -rf "$crate"
mkdir -p "$crate/src/crash" "$crate/src/support" "$crate/below/src"
for module in $below; do
    if [ -d "src/$module" ]; then cp -r "src/$module" "$crate/below/src"; else cp "src/$module.rs" "$crate/below/src"; fi
    printf 'pub mod %s;\n' "$module" >> "$crate/below/src/lib.rs"
done
rm -r "$crate/below/src/target/rocks"
# What was the crate's own is looked at from another one now.
grep -rlF 'pub(crate)' "$crate/below/src" | xargs sed -i 's/pub(crate)/pub/'
cp -r src/journal src/reconcile.rs src/error.rs "$crate/src"
# The tests are modules of the crate, which calls itself as they do: so a mutant is compiled once, and not for each kind of tests.
cat > "$crate/src/lib.rs" <<end
#![allow(missing_docs)]
mod error;
pub mod journal;
pub mod reconcile;
pub use below::{${below// /, }};
pub use error::{Error, Kind};
#[cfg(test)]
extern crate self as storeshift;
#[cfg(test)]
#[allow(dead_code)]
mod crash { pub mod images; pub mod log; pub mod recorder; }
#[cfg(test)]
mod memory;
#[cfg(test)]
mod support { pub mod disk; pub mod random; }
end
cp -r tests/memory/journal "$crate/src/memory"
cp tests/memory/journal.rs "$crate/src/memory/mod.rs"
cp tests/memory/crash/images.rs tests/memory/crash/log.rs tests/memory/crash/recorder.rs "$crate/src/crash"
cp tests/memory/support/disk.rs tests/memory/support/random.rs "$crate/src/support"
above='^(clap|indicatif|lz4_flex|rocksdb|tokio|tracing-subscriber) = '
{
    manifest below -vE "$above"
    sed -n '/^\[target/,/^$/p' Cargo.toml
    printf '[features]\nrocksdb = []\n'
} > "$crate/below/Cargo.toml"
{
    manifest storeshift -vE "$above"
    printf 'below = { path = "below" }\n'
    printf '\n[features]\nrocksdb = []\n'
    tests_and_profile 'proptest|tempfile' 0
} > "$crate/Cargo.toml"
unchanged=(
    # The size of redb's cache: what a journal says is the same with none.
    'journal/mod\.rs:.* replace << with >>$'
    # The format that is known has an arm of its own before this one.
    'replace > with >= in Journal::check$'
    # Flags of different bits, of which the one side has none of the other's.
    'replace \| with \^ in (guarded|read|<impl From<&Job> for Job1>::from)$'
)
mutants --file 'src/journal/*.rs' --file src/reconcile.rs "${unchanged[@]/#/--exclude-re=}" "$@"
exit "$failed"
