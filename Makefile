# Each target does its own set-up. `make demo` and `make test` are all a newcomer needs.

# Further arguments for `mete up`: make demo ARGS="--agents 5 --app my.json"
ARGS ?=

.PHONY: demo test test-chaos test-cgroup2 check advisories bench doc build

# A whole cluster on this machine with one app behind a real HAProxy; Ctrl-C takes it down.
demo:
	scripts/install-deps run
	cargo build --release -p mete-cli
	target/release/mete up --app examples/web.json $(ARGS)

# Every test: unit, property, documentation, and end to end with real processes and a real HAProxy.
test:
	scripts/install-deps test
	cargo build --workspace --bins --examples
	cargo test --workspace --no-fail-fast

# Two hundred tasks at a time, started and killed at random for CHAOS_SECONDS, their agent killed every ten seconds.
CHAOS_SECONDS ?= 300
test-chaos:
	scripts/install-deps test
	cargo build -p mete-agent --examples
	METE_CHAOS_SECONDS=$(CHAOS_SECONDS) METE_CHAOS_TASKS=200 METE_CHAOS_KILL_SECONDS=10 \
		cargo test -p mete-agent --test agent -- --nocapture nothing_is_left_and

# The agent's tests of processes and containers where control groups are of version 2 alone: in an emulated machine.
test-cgroup2:
	scripts/cgroup2-guest

# What CI runs before the tests: form, lints, documentation, layers, licences. cargo-deny looks at the crates
# of every platform, also those that no build here fetches: hence the fetch.
check:
	scripts/install-deps check
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	RUSTDOCFLAGS="--deny warnings" cargo doc --workspace --no-deps
	cargo test -p mete-cli --test layers
	cargo fetch --locked
	cargo deny --offline check licenses bans sources

# Known security faults of dependencies; asks the advisory database, so it needs the network.
advisories:
	scripts/install-deps check
	cargo deny check advisories

# The criterion questions; the answers go into benches/README.md.
bench:
	cargo bench -p mete-benches

doc:
	cargo doc --workspace --no-deps --open

build:
	cargo build --release -p mete-cli
