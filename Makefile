# Two commands matter: make run and make test. Both install what they need:
# on Debian and Ubuntu through apt when run as root, else they say what is missing.
# Needed beforehand: make, git and Go.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c

GO ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT ?= $(shell git rev-parse HEAD 2>/dev/null)
COMMIT_DATE ?= $(shell TZ=UTC git log -1 --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)
FUZZTIME ?= 30s
FUZZJOBS ?= 4
FOR ?= 3m
NODES ?= 1000
SEED ?= 0

# Most tests wait most of the time: for servers, polls and time limits. So
# more of them run at a time than there are processors, the longest packages first.
# lint has vetted them.
# Few side by side: a user may have 128 inotify instances (fs.inotify.max_user_instances), and each source of a test takes one.
TEST := $(GO) test -count=1 -vet=off -parallel 4
LONGEST := ./sinks/rsyslog ./sources/... ./pipeline

# The end-to-end tests that do many things at once. make torture, which runs under the race detector
# as all unit tests do, does most of it; e2e-race runs these again with that detector.
AT_ONCE := Storm|Ships|AddedTargets|ChangedFile|OneDeadEndpoint|RefusedLinesAreKept|Ledger|Spool|FileBorn|OneCall

# What the tests talk to, and what builds the oracles that need cgo.
TEST_PACKAGES := systemd systemd-journal-remote rsyslog rsyslog-gnutls rsyslog-openssl rsyslog-relp libsystemd-dev gcc libc6-dev strace curl openssl xz-utils patch groff-base

# What packages-test needs beside: tools that read packages, and a Debian to install them in.
PACKAGE_PACKAGES := lintian rpm cpio debootstrap systemd-container

.PHONY: build run test packages packages-test appliance appliance-test e2e e2e-race torture outage kills rotations fleet loki fuzz bench docs check-docs lint deps test-deps clean

build: deps
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT) -X main.commitDate=$(COMMIT_DATE)" -o bin/lbshipd ./cmd/lbshipd

# The main job without any server: this machine's journal and /var/log/*.log
# to the console. Its state is kept in ./data.
run: build
	exec bin/lbshipd run --data-dir data

test: test-deps lint check-docs
	$(TEST) -race -p 2 -timeout 20m $(LONGEST) ./...
	cd packaging/promql && $(TEST) ./...
	CGO_ENABLED=1 $(TEST) -timeout 10m -tags sdjournal -run Libsystemd ./sources/journald/

# End to end, with a real Loki that is built once and kept by its go.sum.
e2e: test-deps build loki
	LBSHIPD_E2E=1 $(TEST) -timeout 20m ./internal/testbed/ ./sinks/loki/
	cd e2e && LBSHIPD_E2E=1 LBSHIPD_BIN=$(CURDIR)/bin/lbshipd $(TEST) -timeout 20m ./...

e2e-race: test-deps loki
	CGO_ENABLED=1 $(GO) build -race -o bin/lbshipd.race ./cmd/lbshipd
	cd e2e && LBSHIPD_E2E=1 LBSHIPD_BIN=$(CURDIR)/bin/lbshipd.race $(TEST) -timeout 20m -run '$(AT_ONCE)' .

# Faults of every kind for FOR, by the random numbers of SEED (one from the
# clock if there is none), and an oracle that knows what is owed: docs/reliability.md.
torture: test-deps
	cd e2e && $(GO) run ./torture build-clock -race -root .. -o ../bin/lbshipd.torture
	cd e2e && $(GO) run ./torture -race -clock -bin ../bin/lbshipd.torture -for $(FOR) -seed $(SEED)

# deb and rpm for amd64 and arm64, their bills of materials and checksums, in dist/.
# The same commit gives the same bytes.
packages: deps
	GO=$(GO) packaging/build.sh dist

# The packages looked at from all sides, and installed, upgraded and removed
# under a systemd of their own, with a real Loki: minutes.
packages-test: TEST_PACKAGES += $(PACKAGE_PACKAGES)
packages-test: test-deps loki
	LBSHIPD_E2E=1 LBSHIPD_PACKAGES=1 $(GO) test -count=1 -vet=off -timeout 60m -v ./packaging/...

# For the images of appliances: a tarball, a bill of materials and checksums for
# amd64 and arm64, in dist/.
appliance: deps
	GO=$(GO) packaging/appliance/build.sh dist

# That tarball in an image with a read-only root: 5,000 entries a second for FOR, a
# fifth of it without a target, within 16 MiB.
appliance-test: FOR := $(if $(filter file,$(origin FOR)),40s,$(FOR))
appliance-test: TEST_PACKAGES += $(PACKAGE_PACKAGES)
appliance-test: test-deps
	LBSHIPD_PACKAGES=appliance LBSHIPD_APPLIANCE_FOR=$(FOR) $(GO) test -count=1 -vet=off -timeout 60m -v -run Appliance ./packaging/...

# The figures of docs/reliability.md: each takes minutes.
outage: test-deps build
	cd e2e && $(GO) run ./torture outage

kills: test-deps build loki
	cd e2e && LBSHIPD_E2E=1 $(GO) run ./torture kills
	cd e2e && $(GO) run ./torture receiver

rotations: test-deps build
	cd e2e && $(GO) run ./torture rotations

# The figures of docs/scale.md: NODES nodes without a pipeline on one real etcd.
fleet: FOR := $(if $(filter file,$(origin FOR)),60s,$(FOR))
fleet: deps
	cd e2e && $(GO) run ./fleet -nodes $(NODES) -for $(FOR)

# The real Loki: about 8 minutes of CPU the first time, then nothing.
loki: deps
	LBSHIPD_E2E=1 $(GO) test -count=1 -timeout 40m -run TestLokiBinaryIsCached ./internal/testbed/

# Every fuzz target for FUZZTIME.
fuzz: deps
	FUZZTIME=$(FUZZTIME) FUZZJOBS=$(FUZZJOBS) GO=$(GO) ./.ci/fuzz

bench: test-deps
	$(GO) test -run '^$$' -bench . -benchmem ./...

# The reference pages are made from the code.
docs:
	$(GO) run ./internal/docgen
	$(GO) test ./cmd/lbshipd -run Reference -update

check-docs:
	$(GO) run ./internal/docgen -check

lint: deps
	@out=$$(gofmt -l $$(git ls-files '*.go')); if [ -n "$$out" ]; then echo "not formatted (gofmt -w):" $$out; exit 1; fi
	$(GO) vet ./...
	$(GO) vet -tags sdjournal ./sources/journald/
	$(GO) vet -tags appliance ./...
	cd e2e && $(GO) vet ./...
	cd bench && $(GO) vet ./...
	cd packaging/promql && $(GO) vet ./...

deps:
	@command -v $(GO) >/dev/null || { echo "Go 1.26 or newer is needed: https://go.dev/doc/install"; exit 1; }

test-deps: deps
	@missing=$$(for p in $(TEST_PACKAGES); do dpkg-query -W -f='$${Status}\n' $$p 2>/dev/null | grep -q 'install ok installed' || echo $$p; done); \
	if [ -n "$$missing" ]; then \
	  if [ "$$(id -u)" = 0 ]; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	  else echo "missing packages (install them, or run as root):" $$missing; exit 1; fi; \
	fi

clean:
	rm -rf bin data dist
