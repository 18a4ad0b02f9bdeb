# Python's websockets, in both roles.
venv=${CARGO_TARGET_DIR:-target}/peers/venv
if ! have python3; then
  skip websockets "python3 not found: apt-get install python3-venv"
elif ! "$venv/bin/python" -c 'import websockets' 2>/dev/null &&
  ! { python3 -m venv "$venv" && "$venv/bin/pip" install --quiet 'websockets>=13'; } >/dev/null 2>&1; then
  skip websockets "pip cannot install websockets"
else
  start echo ws --deflate
  while IFS=$'\t' read -r verdict name seen; do "$verdict" "$name" "$seen"; done \
    < <("$venv/bin/python" "$here/websockets_peer.py" client "$url" plain deflate)
  stop
  for how in plain deflate; do
    "$venv/bin/python" "$here/websockets_peer.py" server $how >"$tmp/websockets" &
    pids+=($!)
    for _ in $(seq 100); do [ -s "$tmp/websockets" ] && break; sleep 0.05; done
    check "our ws, Python websockets, $how" "$(echoed "ws://127.0.0.1:$(cat "$tmp/websockets")/")" "hello 你好 ${#long} "
    kill "${pids[-1]}"; unset 'pids[-1]'
    rm "$tmp/websockets"
  done
fi
