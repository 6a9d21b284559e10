#!/usr/bin/env bash
# Builds the toolchain from its Go source and writes it, metered and compressed, with its checksum.
# The result depends on the source, go.mod and the Go version named there, and on nothing else.
#
#   build.sh          writes toolchain.wasm.zst, toolchain.wasm.sha256 and NOTICES
#   build.sh --check  builds and compares with the checksum; writes nothing
set -euo pipefail
cd "$(dirname "$0")"
node=$(node ../../../tools/node24.mjs)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

GOOS=wasip1 GOARCH=wasm CGO_ENABLED=0 GOFLAGS=-mod=readonly \
	go build -buildmode=c-shared -buildvcs=false -trimpath -ldflags="-s -w -buildid=" -o "$work/plain.wasm" .
"$node" pack.ts "$work/plain.wasm" "$work"

if [ "${1:-}" = --check ]; then
	cmp "$work/toolchain.wasm.sha256" toolchain.wasm.sha256 || {
		echo "the committed toolchain was not built from this source: run src/rego/toolchain/build.sh and commit" >&2
		exit 1
	}
	exit 0
fi
./notices.sh >NOTICES
cp "$work/toolchain.wasm.zst" "$work/toolchain.wasm.sha256" .
