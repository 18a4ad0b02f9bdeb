#!/usr/bin/env bash
# Real peers in both roles: Python `websockets` and npm `ws`, against the examples `echo` (our
# server) and `probe` (our client). Not a part of `cargo test`: it installs both peers, below
# target/. Prints what each side saw, and fails if one of them saw something else than an echo.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../../../.." && pwd)
target=${CARGO_TARGET_DIR:-$top/target}
place=$target/ws-peers
mkdir -p "$place"

[ -x "$place/venv/bin/python" ] || python3 -m venv "$place/venv"
"$place/venv/bin/python" -c 'import websockets' 2>/dev/null ||
    "$place/venv/bin/pip" install --quiet websockets==16.0
[ -d "$place/node_modules/ws" ] ||
    npm install --prefix "$place" --silent --no-audit --no-fund ws@8
cp "$here/peer.py" "$here/peer.cjs" "$place/"
(cd "$top" && cargo build --quiet -p loopwork-ws --example echo --example probe)

started=()
trap 'for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || true; done' EXIT

# Starts a server, whose first line ends with its address; sets `at`.
serve() {
    local line=$place/listening
    : >"$line"
    "$@" >"$line" &
    started+=($!)
    for _ in $(seq 100); do
        [ -s "$line" ] && break
        sleep 0.1
    done
    at=$(sed 's|.*ws://||;q' "$line")
    [ -n "$at" ] || { echo "no server: $*" >&2; exit 1; }
}

python=("$place/venv/bin/python" "$place/peer.py")
node=(node "$place/peer.cjs")

serve "$target/debug/examples/echo" 127.0.0.1:0
echo "== python websockets → our server"
timeout 60 "${python[@]}" client "ws://$at/chat"
echo "== npm ws → our server"
timeout 60 "${node[@]}" client "ws://$at/chat"
for peer in python node; do
    declare -n command=$peer
    serve "${command[@]}" server
    echo "== our client → $peer"
    timeout 60 "$target/debug/examples/probe" "$at" / | tee "$place/probe"
    grep -q '^20 messages came back$' "$place/probe"
    grep -q '^closed: 1000 .* clean=true None$' "$place/probe"
done
echo "all peers agree"
