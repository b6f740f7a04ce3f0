# The commands for work on Pilotfish, on a machine with Rust. `make help` lists them.

CARGO ?= cargo

# The Debian package of each program that the tests and the demo start.
ENGINE_NEEDS = dockerd=docker.io docker=docker-cli,docker.io iptables=iptables \
	docker-registry=docker-registry ip=iproute2 nsenter=util-linux setsid=util-linux \
	curl=curl pgrep=procps gzip=gzip tar=tar \
	docker-compose=docker-compose prometheus=prometheus promtool=prometheus setpriv=util-linux script=bsdutils haproxy=haproxy \
	mkfs.ext4=e2fsprogs losetup=mount perl=perl-base unshare=util-linux /bin/busybox=busybox-static

# The broker of the tests of the fleet.
BROKER_NEEDS = /usr/sbin/mosquitto=mosquitto mosquitto_sub=mosquitto-clients openssl=openssl setpriv=util-linux

# The real-Engine tests mostly wait, so more of them run at the same time than there are cores.
export RUST_TEST_THREADS ?= 4

# How many seconds `make fuzz` runs each of its targets.
FUZZ_TARGETS = reference challenge manifest docker_config notification packet message image_tree archive
FUZZ_SECONDS ?= 60

# The Engines of `make test-engines`, and the environment that selects each.
DOCKER_ENGINES = here docker-28 docker-28-containerd
ENGINES = $(DOCKER_ENGINES) podman
ROOTS = $(CURDIR)/target/engines
on_here = env
on_docker-28 = TEST_ENGINE_ROOT=$(ROOTS)/docker-28
on_docker-28-containerd = $(on_docker-28) TEST_ENGINE_FLAGS=--feature=containerd-snapshotter=true
on_podman = TEST_ENGINE=podman TEST_ENGINE_ROOT=$(ROOTS)/podman-4.3
on = $(on_$(1))

# Another updater, for the comparison. It is not part of this program. Installed in its release form, because
# its size, memory and time are measured as well.
FRESHDOCK = target/peers/bin/freshdock
PEERS = $(CURDIR)/target/peers/bin

.DEFAULT_GOAL := help
.PHONY: help build release check test test-image test-arm test-deb test-engines fidelity fuzz demo demo-fleet demo-projects demo-swarm bench footprint torture test-mqtt test-registries test-swarm \
	soak dist deb image needs needs-dist clean

help: ## lists the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## builds the agent quickly, with debug assertions
	$(CARGO) build --locked

release: ## builds the release: target/release/pilotfish
	$(CARGO) build --locked --release

check: ## checks format, lints, documentation and the project's own rules (needs no Engine)
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps --document-private-items
	$(CARGO) test --locked --test tidy
	@if $(CARGO) deny --version > /dev/null 2>&1; then \
		$(CARGO) deny --locked --offline check bans licenses sources; \
	else echo "cargo-deny is not installed; tests/tidy has checked bans, sources and licences"; fi

test: check needs ## runs all tests, on private Engines (needs root)
	$(CARGO) test --locked --doc
	$(CARGO) test --locked --no-fail-fast --tests

test-engines: needs engines ## tests recreate on every Engine, the main job on Docker's, and Compose 2 (needs root, an hour)
	$(foreach engine,$(ENGINES),$(call on,$(engine)) $(CARGO) test --locked --test fidelity every_option &&) true
	$(foreach engine,$(DOCKER_ENGINES),$(call on,$(engine)) $(CARGO) test --locked --test engine &&) true
	$(call on,podman) $(CARGO) test --locked --test engine -- --ignored podman
	$(call on,podman) $(CARGO) test --locked --test engine at_fault
	TEST_COMPOSE=$(ROOTS)/docker-28/usr/libexec/docker/cli-plugins/docker-compose \
		$(CARGO) test --locked --test torture compose

test-swarm: needs engines ## tests services on real Swarms, old and new: every bad image, kills, thirty rollbacks (needs root, an hour)
	$(foreach engine,here docker-28,$(call on,$(engine)) SWARM_ROLLBACKS=$${SWARM_ROLLBACKS:-30} \
		$(CARGO) test --locked --test swarm -- --include-ignored --test-threads=1 &&) true

fidelity: needs engines $(FRESHDOCK) ## tests recreate on every Engine and writes docs/fidelity.md (needs root, an hour)
	rm -rf target/fidelity
	$(foreach engine,$(ENGINES),$(call on,$(engine)) $(CARGO) test --locked --test fidelity every_option;)
	FRESHDOCK=$(CURDIR)/$(FRESHDOCK) $(CARGO) test --locked --test fidelity -- --ignored freshdock
	$(CARGO) test --locked --test fidelity -- --ignored --nocapture page

# Engines that `needs` does not install: root directories of other Debian releases, created once.
.PHONY: engines
engines:
	@scripts/ensure debootstrap=debootstrap
	scripts/engine-root docker-28 target/engines/docker-28
	scripts/engine-root podman-4.3 target/engines/podman-4.3

$(FRESHDOCK):
	$(CARGO) install --locked --root target/peers --target-dir target/peers/build --version 1.7.1 freshdock

# The sanitizer and the coverage are unstable options, but the stable compiler has them. With RUSTC_BOOTSTRAP
# the fuzzer uses the same compiler that builds a release. Its working corpus grows under target/. Put an input
# that shows a bug into fuzz/corpus by hand, with the fix.
fuzz: export RUSTC_BOOTSTRAP = 1
fuzz: ## fuzzes every parser of outside data for FUZZ_SECONDS each, with AddressSanitizer (needs cargo-fuzz)
	@$(CARGO) fuzz --version > /dev/null || { echo "install it: cargo install cargo-fuzz"; exit 1; }
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p target/fuzz/corpus/$$target && \
		$(CARGO) fuzz run --target-dir target/fuzz/build $$target \
			target/fuzz/corpus/$$target fuzz/corpus/$$target -- \
			-max_total_time=$(FUZZ_SECONDS) -print_final_stats=1 || exit 1; \
	done

demo: needs build till ## shows a good release, a bad one and the rollback, in two minutes
	examples/demo/run target/debug/pilotfish target/demo/till

demo-fleet: needs build till ## shows a fleet: a push that is mirrored, a bad release, a stolen certificate, a dead broker
	examples/demo-fleet/run target/debug/pilotfish target/demo/till

demo-projects: needs build till ## shows a project: a migration before the switch, one that fails, a rollback of all
	examples/demo-projects/run target/debug/pilotfish target/demo/till

demo-swarm: needs build till ## shows a Swarm of two tables: a good release, a bad one, a manager killed in the middle
	examples/demo-swarm/run target/debug/pilotfish target/demo/till

bench: needs needs-dist $(FRESHDOCK) ## measures the release and compares it with its goals (needs root, twenty minutes)
	scripts/dist $(MACHINE)
	$(CARGO) bench --locked --profile dev --bench figures -- target/$(MACHINE)/release/pilotfish

footprint: needs needs-dist $(FRESHDOCK) ## measures size, memory, CPU time and disk writes of an idle agent (needs root, half an hour)
	scripts/dist $(MACHINE)
	FRESHDOCK=$(CURDIR)/$(FRESHDOCK) FOOTPRINT_ROUNDS=1000 FOOTPRINT_REST=600 \
		$(CARGO) bench --locked --profile dev --bench figures -- \
		target/$(MACHINE)/release/pilotfish footprint

torture: needs ## causes a fault at every call of a real agent; writes docs/reliability.md (a night; see TORTURE_KILLS)
	$(CARGO) test --locked --test torture -- --ignored --nocapture --test-threads=1 torture::
	$(CARGO) test --locked --test engine -- --ignored --nocapture self_update push:: projects:: start_first::

soak: ## causes random faults in the model, for PILOTFISH_SEEDS seeds, and more pairs of crashes
	PILOTFISH_SEEDS=$${PILOTFISH_SEEDS:-1000000} PILOTFISH_STRIDE=$${PILOTFISH_STRIDE:-10} $(CARGO) test --locked --test model -- --nocapture

test-mqtt: needs ## kills the broker a thousand times under a connected device (four minutes)
	$(CARGO) test --locked --test mqtt -- --ignored --nocapture

test-registries: needs $(PEERS)/registry $(PEERS)/cosign2 $(PEERS)/cosign3 ## tests the mirror with distribution 2.8 and 3.1 and with cosign (needs Go, ten minutes)
	$(CARGO) test --locked --test registry -- --ignored --nocapture
	TEST_REGISTRY=$(PEERS)/registry $(CARGO) test --locked --test registry -- --include-ignored

# Programs in Go that Debian does not have. `go` must be 1.24 or later: https://go.dev/dl
GO_INSTALL = GOBIN=$(PEERS)/build go install
$(PEERS)/registry:
	$(GO_INSTALL) github.com/distribution/distribution/v3/cmd/registry@v3.1.2
	mv $(PEERS)/build/registry $@
$(PEERS)/crane:
	$(GO_INSTALL) github.com/google/go-containerregistry/cmd/crane@v0.22.1
	mv $(PEERS)/build/crane $@
$(PEERS)/regctl:
	$(GO_INSTALL) github.com/regclient/regclient/cmd/regctl@v0.11.7
	mv $(PEERS)/build/regctl $@
$(PEERS)/cosign2:
	$(GO_INSTALL) github.com/sigstore/cosign/v2/cmd/cosign@v2.6.1
	mv $(PEERS)/build/cosign $@
$(PEERS)/cosign3:
	$(GO_INSTALL) github.com/sigstore/cosign/v3/cmd/cosign@v3.1.3
	mv $(PEERS)/build/cosign $@

test-image: needs needs-dist ## tests the image for this machine, started as in the documentation (needs root)
	scripts/dist $(MACHINE)
	TEST_IMAGE_TARGET=$(MACHINE) $(CARGO) test --locked --test engine -- --ignored --nocapture image::

test-arm: needs needs-dist ## tests the binaries for 64-bit and 32-bit Pis, emulated, on a real Engine (needs root)
	@scripts/ensure qemu-aarch64-static=qemu-user-static update-binfmts=binfmt-support
	scripts/dist $(ARM)
	scripts/test-arm $(ARM)

test-deb: needs-dist ## tests the package for this machine, from install to purge, under a real systemd (needs root)
	@scripts/ensure systemd-nspawn=systemd-container debootstrap=debootstrap nsenter=util-linux pgrep=procps \
		curl=curl openssl=openssl
	scripts/dist $(MACHINE)
	scripts/deb $(MACHINE)
	scripts/test-deb "$$(ls -t target/dist/pilotfish_*_"$$(dpkg --print-architecture)".deb | head -n 1)"

dist: needs-dist ## builds static binaries for every Pi, with checksums, man pages and completions
	scripts/dist

deb: dist ## builds their Debian packages: arm64, armhf, armel, amd64
	scripts/deb

ARM = aarch64-unknown-linux-musl armv7-unknown-linux-gnueabihf arm-unknown-linux-gnueabi

# The target of this machine.
MACHINE = $(shell uname -m | sed -e 's/armv7l/armv7-unknown-linux-gnueabihf/' -e t \
	-e 's/armv6l/arm-unknown-linux-gnueabi/' -e t -e 's/$$/-unknown-linux-musl/')

image: needs-dist ## builds the container image `pilotfish` for this machine, on its own Engine
	scripts/dist $(MACHINE)
	scripts/image $(MACHINE) pilotfish

# The cross compilers for all other kinds of machines. Rust includes musl.
CROSS_NEEDS = aarch64-linux-gnu-gcc=gcc-aarch64-linux-gnu,gcc arm-linux-gnueabihf-gcc=gcc-arm-linux-gnueabihf,gcc \
	arm-linux-gnueabi-gcc=gcc-arm-linux-gnueabi x86_64-linux-gnu-gcc=gcc-x86-64-linux-gnu,gcc \
	/usr/arm-linux-gnueabihf/lib/libc.a=libc6-dev-armhf-cross /usr/arm-linux-gnueabi/lib/libc.a=libc6-dev-armel-cross
ifneq ($(shell uname -m),aarch64)
CROSS_NEEDS += /usr/aarch64-linux-gnu/include/stdio.h=libc6-dev-arm64-cross
endif
ifneq ($(shell uname -m),x86_64)
CROSS_NEEDS += /usr/x86_64-linux-gnu/include/stdio.h=libc6-dev-amd64-cross
endif
needs-dist:
	@scripts/ensure readelf=binutils $(CROSS_NEEDS)

.PHONY: till
# The static service that the demo packs into images. Only its linking is special.
till:
	$(CARGO) rustc --locked --example till -- -C target-feature=+crt-static -C strip=symbols
	mkdir -p target/demo
	cp target/debug/examples/till target/demo/till

needs:
	@scripts/ensure $(ENGINE_NEEDS) $(BROKER_NEEDS)

clean: ## removes everything that was built
	$(CARGO) clean
