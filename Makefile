# The commands people type. Each does its own set-up first; none asks for an environment variable.
# Variables: DEVICE=cpu|cuda, WHEELS=folder (no network), ARGS='...' (options for sim and repro),
# DATA=folder (where Fashion-MNIST lies; otherwise cache, Debian package, download), BASE=commit and PART=names (golden).

export DEVICE WHEELS DATA
ARGS =
SIM_ARGS = dual-imbalance
REPRO_ARGS = fashion-mnist --imb 10,50,100 --methods ce,balanced-softmax,rescom --preset quick
export SIM_ARGS REPRO_ARGS
BASE = ec519f4
PART = all
# Set but empty would hide from cargo what set-up wrote.
ifeq ($(LIBTORCH),)
unexport LIBTORCH
endif

TRAIN = --features train
STRICT = -- -D warnings

.PHONY: help setup report sim repro test fuzz golden lint bench clean

help:
	@echo 'make report   set-up, build, simulation and quick training runs, index: reports/runs/README.md'
	@echo 'make test     all that continuous integration checks'
	@echo 'make setup    find or fetch libtorch (cached outside the checkout); afterwards plain cargo works'
	@echo 'make sim      the simulation alone, needs no libtorch      (ARGS="dual-imbalance --imb 100")'
	@echo 'make repro    the training program                         (ARGS="fashion-mnist --help")'
	@echo 'make fuzz     a million damaged files over all readers, an hour at most (CASES=10000 SEED=2 MINUTES=5)'
	@echo 'make golden   are all results bit for bit those of commit BASE?      (PART=methods,sim)'
	@echo 'make lint     formatting and clippy'
	@echo 'make bench    benches beside their peers (PEER_PYTHON: a Python that has them)'
	@echo 'make clean    remove build outputs and reports/runs; the cache of libtorch and data stays'
	@echo 'Variables: DEVICE=cuda (libtorch with CUDA), WHEELS=folder (set-up without network), DATA=folder (Fashion-MNIST)'

setup:
	@scripts/setup.sh

report:
	@scripts/report.sh

sim:
	@scripts/setup.sh --rust-only
	cargo run --release --bin rescom-sim -- $(or $(ARGS),$(SIM_ARGS))

repro: setup
	cargo run --release $(TRAIN) --bin rescom-repro -- $(or $(ARGS),$(REPRO_ARGS) $(if $(DATA),--data '$(DATA)'))

# Clippy and the tests of one feature set follow each other, so that cargo reuses what it can.
test: lint
	python3 tests/setup_test.py
	python3 tests/golden_test.py
	cargo test
	cargo test $(TRAIN)

# Damaged files over every reader; what panics is named with its seed and number, and kept.
fuzz: export FUZZ_CASES = $(or $(CASES),1000000)
fuzz: export FUZZ_SEED = $(or $(SEED),1)
fuzz: export FUZZ_MINUTES = $(or $(MINUTES),60)
fuzz: setup
	cargo test $(TRAIN) --test data -- --ignored --nocapture a_million_damaged_files

golden: setup
	scripts/golden.py check --base '$(BASE)' --part '$(PART)' $(if $(DATA),--data '$(DATA)') $(ARGS)

lint: setup
	cargo fmt --check
	cargo clippy --all-targets $(STRICT)
	cargo clippy --all-targets $(TRAIN) $(STRICT)
	RUSTDOCFLAGS='-D warnings' cargo doc --quiet --lib --no-deps $(TRAIN)

bench: setup
	cargo bench $(TRAIN)

clean:
	cargo clean
	rm -rf reports/runs
