# make demo and make test are all a newcomer needs; make help shows the rest.
#
# Everything is built with one profile (release), so that RocksDB's C++ is compiled once. CARGO_TARGET_DIR is honoured; with
# ROCKSDB_LIB_DIR a RocksDB that is there already (11.8.1, shared) is linked instead of compiled.

export CARGO_TARGET_DIR ?= $(CURDIR)/target
ifdef ROCKSDB_LIB_DIR
export LD_LIBRARY_PATH := $(ROCKSDB_LIB_DIR)$(if $(LD_LIBRARY_PATH),:$(LD_LIBRARY_PATH))
endif

CARGO ?= cargo
FUZZ_SECONDS ?= 60
PROOF ?= 2
step = @printf '\n==> %s\n' "$(1)"
GO_MODULES = wl v0 v1 v2

.PHONY: help demo test proof coverage mutants bench bench-large bench-live oracle fuzz lint deps clean build

help:
	@echo "make demo     migrate a small bundled database, kill it half-way, resume, verify"
	@echo "make test     everything that must hold: format, lints, documentation, all tests"
	@echo "make proof    what PROOF.md counts, scaled down: power cuts, kills, damage, planted bugs, fuzzing"
	@echo "make coverage which share of the lines of parsers and recovery the tests reach (needs cargo-llvm-cov)"
	@echo "make mutants  break machine, journal and reconcile in every small way; what no test notices is printed (needs cargo-mutants)"
	@echo "make bench    side by side with the Go migration, curves, limits, reads, a picture (15 minutes the first time)"
	@echo "make bench-large   the same with ten million keys too"
	@echo "make bench-live    a chain that commits beside its migration, the commit that switches, a thousand switches (20 minutes)"
	@echo "make oracle   check and build the Go programs that judge what is written"
	@echo "make fuzz     every fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS) seconds (needs nightly Rust and cargo-fuzz)"
	@echo "make lint     format, clippy, documentation; licences and advisories if cargo-deny is there"
	@echo "make deps     install what is missing (Debian, Ubuntu)"
	@echo "make clean    remove what was built"

build:
	@.ci/deps build
	$(call step,building (the first time RocksDB too: 15 minutes or more on two cores))
	$(CARGO) build --release --locked

demo: build
	@./demo.sh "$(CARGO_TARGET_DIR)/release/storeshift"

deps:
	@.ci/deps test

lint:
	@.ci/deps build
	$(call step,format)
	$(CARGO) fmt --check
	$(call step,one RocksDB for builds and tests)
	@.ci/one-rocksdb
	$(call step,lints)
	$(CARGO) clippy --release --locked --all-targets -- -D warnings
	$(call step,lints of the pure layers: no C++)
	$(CARGO) clippy --release --locked --no-default-features --all-targets -- -D warnings
	$(call step,documentation)
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --no-deps
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check; \
	else echo "cargo-deny is not installed: licences and advisories are not checked"; fi

oracle:
	@.ci/deps test
	$(call step,the Go programs: format; vet; tests; build)
	@cd tests/oracle && test -z "$$(gofmt -l . | tee /dev/stderr)"
	@for module in $(GO_MODULES); do (cd tests/oracle/$$module && go vet ./... && go test ./...) || exit 1; done
	@cd benches/suite && test -z "$$(gofmt -l . | tee /dev/stderr)" && go vet ./... && go test ./...
	@tests/oracle/build.sh "$(CARGO_TARGET_DIR)/tmp/oracle"

test: deps lint oracle
	$(call step,tests of the pure layers: no C++)
	$(CARGO) test --release --locked --no-default-features --lib
	$(call step,tests)
	$(CARGO) test --release --locked
	$(call step,all is well)

# PROOF times as much as make test does; figures are on lines of their own.
proof: export STORESHIFT_PROOF = $(PROOF)
proof: deps
	$(call step,power cuts: every image of recorded runs)
	$(CARGO) test --release --locked --test memory -- --nocapture crash:: journal:: prefixes:: switchers::
	$(call step,kills and file systems that are shut down under the real binary; hostile neighbours)
	$(CARGO) test --release --locked --test binary -- --nocapture kill:: power:: hostile:: skew::
	$(call step,nodes killed inside the switch)
	$(CARGO) test --release --locked --test live -- --nocapture killed::
	$(call step,damage)
	$(CARGO) test --release --locked --test sweep -- --nocapture
	$(call step,planted bugs)
	$(CARGO) test --release --locked --test planted -- --nocapture
	@if $(CARGO) +nightly fuzz --version >/dev/null 2>&1; then $(MAKE) fuzz FUZZ_SECONDS=8; \
	else echo "nightly Rust and cargo-fuzz are not installed: nothing is fuzzed"; fi
	$(call step,all is well)

coverage:
	@.ci/deps test
	@tests/coverage.sh

# MUTANTS=... are options of cargo mutants, such as MUTANTS='--shard 0/10'.
mutants:
	@.ci/deps build
	@tests/mutants.sh $(MUTANTS)

bench:
	@.ci/deps test
	@benches/run.sh

bench-large:
	@.ci/deps test
	@benches/run.sh -large

# LIVE=... are knobs, such as LIVE='--pairs 2 --switches 20' for a try; LIVE=--help lists them. What was begun is gone on with.
bench-live:
	@.ci/deps build
	$(CARGO) bench --locked --bench live -- $(LIVE)

fuzz:
	@FUZZ_SECONDS=$(FUZZ_SECONDS) CARGO="$(CARGO)" fuzz/run.sh

clean:
	$(CARGO) clean
	rm -rf target/demo
