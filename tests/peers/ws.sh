# npm's ws, in both roles; Node's own WebSocket; nginx between ours and npm's; curl, where it has WebSockets.
# behind_nginx PORT: nginx before the WebSocket server at this port; $front is then nginx's.
behind_nginx() {
  local nginx
  nginx=$(command -v nginx || command -v /usr/sbin/nginx) || { skip "ws, nginx" "not found: apt-get install nginx-light"; return 1; }
  mkdir -p "$tmp/ws-nginx/body"
  front=$((20000 + RANDOM % 10000))
  sed "s/PORT/$front/; s/SERVER/$1/" "$here/ws-nginx.conf" >"$tmp/ws-nginx/nginx.conf"
  "$nginx" -p "$tmp/ws-nginx" -c nginx.conf -e error.log &
  pids+=($!)
  for _ in $(seq 100); do (: <"/dev/tcp/127.0.0.1/$front") 2>/dev/null && return; sleep 0.05; done
}
modules=${CARGO_TARGET_DIR:-target}/peers/node
if ! have npm; then
  skip ws "npm not found: apt-get install npm"
elif ! [ -d "$modules/node_modules/ws" ] && ! npm install --silent --prefix "$modules" ws@8 >/dev/null 2>&1; then
  skip ws "npm cannot install ws"
else
  NODE_PATH=$(cd "$modules" && pwd)/node_modules
  export NODE_PATH
  # node_own EXTENSION: Node's own WebSocket against the echo server; it offers compression, and EXTENSION is agreed on.
  node_own() {
    while IFS=$'\t' read -r verdict name seen; do "$verdict" "$name" "$seen"; done \
      < <(node --experimental-websocket --no-warnings "$here/ws-node.mjs" "$url" "$1")
  }
  own=true
  node --experimental-websocket -e WebSocket 2>/dev/null || { skip "Node's WebSocket" "Node $(node -v) has none"; own=false; }
  start echo ws
  if $own; then node_own ''; fi
  stop
  start echo ws --deflate
  if $own; then node_own permessage-deflate; fi
  if behind_nginx "$port"; then
    for how in plain deflate; do
      while IFS=$'\t' read -r verdict name seen; do "$verdict" "nginx before ours, $name" "$seen"; done \
        < <(node "$here/ws-client.cjs" "ws://127.0.0.1:$front/" $how)
    done
    kill "${pids[-1]}"; unset 'pids[-1]'
  fi
  for how in plain deflate; do
    while IFS=$'\t' read -r verdict name seen; do "$verdict" "$name" "$seen"; done \
      < <(node "$here/ws-client.cjs" "$url" $how)
  done
  stop
  for how in plain deflate; do
    node "$here/ws-server.cjs" $how >"$tmp/ws" &
    pids+=($!)
    for _ in $(seq 100); do [ -s "$tmp/ws" ] && break; sleep 0.05; done
    server=$(cat "$tmp/ws")
    check "our ws, npm ws, $how" "$(echoed "ws://127.0.0.1:$server/")" "hello 你好 ${#long} "
    if behind_nginx "$server"; then
      check "our ws, nginx before npm ws, $how" "$(echoed "ws://127.0.0.1:$front/")" "hello 你好 ${#long} "
      kill "${pids[-1]}"; unset 'pids[-1]'
    fi
    kill "${pids[-1]}"; unset 'pids[-1]'
    rm "$tmp/ws"
  done
fi
if curl --version | grep -q '^Protocols:.* ws'; then
  start echo ws
  check "curl, the handshake" "$(curl -sN --max-time 1 -o /dev/null -w '%{http_code}' "$url")" "101"
  stop
else
  skip "ws, curl" "this curl was built without WebSockets"
fi
