#!/bin/sh
# Makes the tokens that docker-compose.yml mounts, once.
set -eu
cd "$(dirname "$0")"
mkdir -p secrets
umask 022
for name in gateway_token metrics_token; do
	[ -s "secrets/$name" ] || head -c 33 /dev/urandom | base64 >"secrets/$name"
done
printf 'GATEWAY_TOKEN=%s\n' "$(cat secrets/gateway_token)" >secrets/nginx.env
