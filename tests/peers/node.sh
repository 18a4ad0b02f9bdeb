# Node's net, dgram and http against ours, in both roles.
if ! have node; then
  skip node "not found: apt-get install nodejs"
else
  start echo tcp; tcp=$port
  start echo udp; udp=$port
  start echo http; http=$port
  while IFS=$'\t' read -r verdict name seen; do "$verdict" "$name" "$seen"; done \
    < <(node "$here/node-clients.mjs" "$tcp" "$udp" "$http")
  stop; stop; stop

  node "$here/node-servers.mjs" >"$tmp/node" &
  pids+=($!)
  for _ in $(seq 100); do [ -s "$tmp/node" ] && break; sleep 0.05; done
  read -r tcp udp http <"$tmp/node"
  check "our nc, Node's net" "$(printf 'hello' | "$loopwork" nc 127.0.0.1 "$tcp")" "echo: hello"
  check "our nc -u, Node's dgram" "$(printf 'hello' | timeout 5 "$loopwork" nc -u -w 1 127.0.0.1 "$udp")" "echo: hello"
  check "our get, Node's http" "$("$loopwork" get "http://127.0.0.1:$http/")" "GET / "
  check "our get -d, Node's http" "$("$loopwork" get -d hello "http://127.0.0.1:$http/a")" "POST /a hello"
  kill "${pids[-1]}"; unset 'pids[-1]'

  start_peer
  while IFS=$'\t' read -r verdict name seen; do "$verdict" "node: $name" "$seen"; done \
    < <(timeout 320 node "$here/node-http.mjs" "$port" || printf 'bad\thttp\tit did not come to its end\n')
  stop
fi
