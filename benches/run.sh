#!/usr/bin/env bash
# Speed and memory, on generated calls: `make bench`. Nothing else should run on the machine meanwhile.
set -euo pipefail
cd "$(dirname "$0")/.."
echo "== replay: whole calls, from a capture in the page cache to WAV, sidecar and catalog =="
cargo bench --locked --quiet --bench replay -- "$@"
echo
echo "== the same calls 100 at a time, and all at once: what a packet costs beside more others =="
cargo bench --locked --quiet --bench replay -- --growth "$@"
echo
echo "== the same with a mix of codecs: half G.711, a quarter Opus, a quarter G.729 =="
cargo bench --locked --quiet --bench replay -- --mix --calls 100,1000 "$@"
echo
echo "== live: 100,000 packets a second from a virtual interface =="
cargo bench --locked --quiet --bench live
echo
echo "== memory: calls on hold for an hour =="
cargo bench --locked --quiet --bench held
echo
echo "== codecs: what decoding costs =="
cargo bench --locked --quiet --bench codecs
echo
echo "== directory: load and lookup =="
cargo bench --locked --quiet --bench directory
echo
echo "== SRTP: one packet opened, by suite =="
cargo bench --locked --quiet --bench srtp
echo
echo "== catalog: searches among 10 million calls of 1,000 tenants =="
cargo bench --locked --quiet --bench catalog
echo
echo "== API: reads and sign-ins beside live recording =="
cargo bench --locked --quiet --bench api
