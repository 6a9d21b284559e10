#!/usr/bin/env bash
# Prints the licences of the Go modules that are compiled into the toolchain.
set -euo pipefail
cd "$(dirname "$0")"
echo "The file toolchain.wasm.zst contains the Go standard library and the Go modules listed here, under their licences."
modules() {
	GOOS=wasip1 GOARCH=wasm go list -deps -f '{{with .Module}}{{if .Version}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' . | sort -u
}
while read -r path version dir; do
	printf '\n%s\n%s %s\n%s\n' "$(printf '=%.0s' {1..78})" "$path" "$version" "$(printf '=%.0s' {1..78})"
	find "$dir" -maxdepth 1 -type f \( -iname 'licen[sc]e*' -o -iname 'copying*' -o -iname 'notice*' \) | sort | while read -r file; do
		tr -d '\r' <"$file"
	done
done < <(modules)
printf '\n%s\nThe Go standard library\n%s\n' "$(printf '=%.0s' {1..78})" "$(printf '=%.0s' {1..78})"
cat "$(go env GOROOT)/LICENSE"
