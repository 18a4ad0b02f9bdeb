# npm's ws, in both roles.
modules=${CARGO_TARGET_DIR:-target}/peers/node
if ! have npm; then
  skip ws "npm not found: apt-get install npm"
elif ! [ -d "$modules/node_modules/ws" ] && ! npm install --silent --prefix "$modules" ws@8 >/dev/null 2>&1; then
  skip ws "npm cannot install ws"
else
  NODE_PATH=$(cd "$modules" && pwd)/node_modules
  export NODE_PATH
  start echo ws --deflate
  for how in plain deflate; do
    while IFS=$'\t' read -r verdict name seen; do "$verdict" "$name" "$seen"; done \
      < <(node "$here/ws-client.cjs" "$url" $how)
  done
  stop
  for how in plain deflate; do
    node "$here/ws-server.cjs" $how >"$tmp/ws" &
    pids+=($!)
    for _ in $(seq 100); do [ -s "$tmp/ws" ] && break; sleep 0.05; done
    check "our ws, npm ws, $how" "$(echoed "ws://127.0.0.1:$(cat "$tmp/ws")/")" "hello 你好 ${#long} "
    kill "${pids[-1]}"; unset 'pids[-1]'
    rm "$tmp/ws"
  done
fi
