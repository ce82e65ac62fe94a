# `make run` and `make test` do all their set-up themselves; `make help` lists the rest.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

TARGET := $(or $(CARGO_TARGET_DIR),target)
CALLREEL := $(TARGET)/release/callreel
FIXTURES := $(sort $(wildcard fixtures/*/*.pcap))
RECORDINGS ?= recordings

# Where `make install` puts things; DESTDIR goes before all of it.
PREFIX ?= /usr
SYSCONFDIR ?= /etc

.PHONY: help run test bench lint build install clean

help:
	@echo 'make run      replay the fixture captures with the example tenants into ./recordings'
	@echo 'make test     every test, those in the documentation too'
	@echo 'make bench    speed and memory, on generated calls'
	@echo 'make lint     formatting, clippy, fuzz targets, documentation, licences'
	@echo 'make build    the release binary, $(CALLREEL)'
	@echo 'make install  binary, manual page, completions, systemd unit, configuration (PREFIX, DESTDIR)'
	@echo 'make clean    everything that was built'

build:
	@.ci/setup build
	cargo build --release --locked

run: build
	@echo 'replaying fixtures/*/*.pcap'
	@$(CALLREEL) replay $(FIXTURES) --config config/callreel.toml --storage $(RECORDINGS)
	@echo
	@echo 'Next:  $(CALLREEL) calls --storage $(RECORDINGS)'

test:
	@.ci/setup test
	.ci/test

bench:
	@.ci/setup build
	benches/run.sh

lint:
	@.ci/setup lint
	cargo fmt --check
	cargo clippy --locked --all-targets -- -D warnings
	@# The fuzz targets, without the C++ that they are linked with when they run.
	CARGO_TARGET_DIR='$(TARGET)' CUSTOM_LIBFUZZER_PATH=/none/libnone.a cargo check --locked --manifest-path fuzz/Cargo.toml
	RUSTDOCFLAGS='-D warnings' cargo doc --locked --no-deps
	@if cargo deny --version >/dev/null 2>&1; then \
	  cargo deny --locked check; \
	else \
	  echo 'lint: cargo-deny is not installed; licences and advisories are not checked'; \
	fi

# Builds nothing, so that it can run as root after `make build`.
install:
	install -D -m 755 $(CALLREEL) $(DESTDIR)$(PREFIX)/bin/callreel
	install -d $(DESTDIR)$(PREFIX)/share/man/man1 $(DESTDIR)$(PREFIX)/share/bash-completion/completions \
	  $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d \
	  $(DESTDIR)$(PREFIX)/lib/systemd/system $(DESTDIR)$(PREFIX)/lib/sysusers.d
	$(CALLREEL) man > $(DESTDIR)$(PREFIX)/share/man/man1/callreel.1
	$(CALLREEL) completions bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/callreel
	$(CALLREEL) completions zsh > $(DESTDIR)$(PREFIX)/share/zsh/vendor-completions/_callreel
	$(CALLREEL) completions fish > $(DESTDIR)$(PREFIX)/share/fish/vendor_completions.d/callreel.fish
	sed 's|/usr/bin/callreel|$(PREFIX)/bin/callreel|; s|/etc/callreel|$(SYSCONFDIR)/callreel|' systemd/callreel.service \
	  > $(DESTDIR)$(PREFIX)/lib/systemd/system/callreel.service
	install -m 644 systemd/callreel.sysusers.conf $(DESTDIR)$(PREFIX)/lib/sysusers.d/callreel.conf
	install -d -m 755 $(DESTDIR)$(SYSCONFDIR)/callreel/tenants
	@# What somebody has edited stays.
	@test -e $(DESTDIR)$(SYSCONFDIR)/callreel/callreel.toml || \
	  install -m 644 config/callreel.toml $(DESTDIR)$(SYSCONFDIR)/callreel/callreel.toml
	install -d $(DESTDIR)$(PREFIX)/share/doc/callreel/tenants
	install -m 644 README.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT $(DESTDIR)$(PREFIX)/share/doc/callreel
	install -m 644 config/tenants/*.toml $(DESTDIR)$(PREFIX)/share/doc/callreel/tenants

clean:
	cargo clean
