# curl against `echo http`, `serve`, and http_server.rs.
if ! have curl; then
  skip curl "not found: apt-get install curl"
else
  start echo http --greet 你好
  check "GET" "$(curl -sS "$url/")" 你好
  check "GET, HTTP/1.0" "$(curl -sS --http1.0 -o "$tmp/got" -w '%{http_version} %{response_code}' "$url/")" "1.1 200"
  check "keep-alive" "$(curl -sSv "$url/a" "$url/b" 2>&1 | grep -ciE 're-using existing (http )?connection')" 1
  check "HEAD" "$(curl -sSI "$url/" | head -n 1 | tr -d '\r')" "HTTP/1.1 200 OK"
  head -c 104857600 /dev/urandom >"$tmp/big"
  want=$(sha256sum <"$tmp/big")
  got=$(curl -sS --data-binary @"$tmp/big" "$url/" | sha256sum)
  check "POST of 100 MiB, both ways" "$got" "$want"
  got=$(curl -sS -T - "$url/" <"$tmp/big" | sha256sum)
  check "PUT of 100 MiB in chunks, both ways" "$got" "$want"
  got=$(curl -sS -T "$tmp/big" "$url/" | sha256sum)
  check "PUT of 100 MiB after 100-continue" "$got" "$want"
  peak=$(awk '/VmHWM/ {print $2}' "/proc/${pids[-1]}/status")
  if [ "$peak" -lt 32768 ]; then ok "memory" "at most $peak KiB after 300 MiB"; else bad "memory" "$peak KiB"; fi
  seen=$(curl -sSv -H 'Expect: 100-continue' --data hello "$url/" 2>&1 | grep -c '< HTTP/1.1 100 Continue')
  check "Expect: 100-continue" "$seen" 1
  stop
  check "SIGTERM" "$code" 0

  start serve docs -p 0
  check "serve, a file" "$(curl -sS "$url/dependencies.md" | sha256sum)" "$(sha256sum <docs/dependencies.md)"
  check "serve, out of the root" "$(curl -sS -o "$tmp/got" -w '%{response_code}' --path-as-is "$url/../Cargo.toml")" 404
  stop

  start_peer
  # twice OPTION…: the new connections that two requests need, one number each.
  twice() { curl -sS -m 60 -o "$tmp/got" -o "$tmp/got" -w '%{num_connects}' "$@"; }
  check "two requests, one connection" "$(twice "$url/a" "$url/b")" 10
  check "two uploads, one connection" "$(twice --data hello "$url/a" "$url/b")" 10
  check "HTTP/1.0, a connection each" "$(twice --http1.0 "$url/a" "$url/b")" 11
  check "HTTP/1.0 with keep-alive" "$(twice --http1.0 -H 'Connection: keep-alive' "$url/a" "$url/b")" 10
  check "Connection: close" "$(twice -H 'Connection: close' "$url/a" "$url/b")" 11
  check "behind 204" "$(twice "$url/none" "$url/none")" 10
  check "behind 304" "$(twice "$url/same" "$url/same")" 10
  check "behind HEAD" "$(twice -I "$url/" "$url/bytes/1000000")" 10
  check "HEAD, a length" "$(curl -sSI "$url/bytes/1000000" | tr -d '\r' | sed -n 's/^Content-Length: //p')" 1000000

  check "chunks up" "$(printf hello | curl -sS -m 60 -T - "$url/")" "5 bytes"
  check "chunks down" "$(curl -sS -m 60 "$url/chunks" | tr '\n' ' ')" "one two three "
  check "chunks down, HTTP/1.0" "$(curl -sSi -m 60 --http1.0 "$url/chunks" | grep -ciE '^(transfer-encoding|x-sum)|^[0-9a-f]+.$')" 0
  check "chunks both ways" "$(yes abcdefghijklmno | head -c 3000000 | curl -sS -m 60 -T - "$url/echo" | cksum)" \
    "$(yes abcdefghijklmno | head -c 3000000 | cksum)"
  check "trailers down, raw" "$(curl -sS -m 60 --raw "$url/chunks" | tail -n 3 | tr -d '\r' | tr '\n' '|')" "0|X-Sum: 3||"
  check "trailers down" "$(curl -sS -m 60 -D - -o "$tmp/got" "$url/chunks" | tail -n 1 | tr -d '\r')" "X-Sum: 3"
  check "none for HEAD" "$(curl -sS -m 60 -I "$url/chunks" | grep -ci '^x-sum')" 0

  # heads OPTION…: the statuses of all heads that come. Without an answer curl would send its body after a second.
  heads() { curl -sS -m 60 --expect100-timeout 60 -D - -o "$tmp/got" "$@" | tr -d '\r' | sed -n 's/^HTTP[^ ]* \([0-9]*\).*/\1/p' | tr '\n' ' '; }
  head -c 2097152 /dev/zero >"$tmp/2MiB"
  check "100 before a body" "$(heads -T "$tmp/2MiB" -H 'Expect: 100-continue' "$url/zeros")" "100 200 "
  check "100 before an echo" "$(heads -T "$tmp/2MiB" -H 'Expect: 100-continue' "$url/echo")" "100 200 "
  check "a body that differs is seen" "$(curl -sS -m 60 -T "$tmp/2MiB" "$url/lines")" "2097152 bytes, which differ"
  check "413 instead of 100" "$(heads -T "$tmp/2MiB" -H 'Expect: 100-continue' "$url/short")" "413 "
  check "413, nothing was sent" \
    "$(curl -sS -m 60 --expect100-timeout 60 -T "$tmp/2MiB" -H 'Expect: 100-continue' -o "$tmp/got" -w '%{size_upload}' "$url/short")" 0
  # Here it waits in vain: none may be sent.
  check "no 100 in HTTP/1.0" "$(heads --http1.0 --expect100-timeout 0.1 -d hello -H 'Expect: 100-continue' "$url/")" "200 "
  check "another expectation" "$(heads -H 'Expect: the-best' "$url/")" "417 "
  check "102 and 103" "$(heads "$url/hints")" "102 103 200 "
  check "102 and 103, HTTP/1.0" "$(heads --http1.0 "$url/hints")" "200 "

  check "upgrade" "$(heads -H 'Connection: upgrade' -H 'Upgrade: echo' -m 3 "$url/" 2>/dev/null)" "101 "
  check "upgrade to the unknown" "$(heads -H 'Connection: upgrade' -H 'Upgrade: unknown' "$url/")" "200 "
  check "CONNECT" "$(curl -sS -m 60 -p -x "$url" http://inside.test/)" "hello inside"
  check "CONNECT, two requests, one tunnel" "$(twice -p -x "$url" http://inside.test/a http://inside.test/b)" 10
  check "CONNECT, a body" "$(curl -sS -m 60 -p -x "$url" -T "$tmp/2MiB" http://inside.test/zeros)" "2097152 bytes, as they should be"
  check "CONNECT, forbidden" \
    "$(curl -s -m 60 -p -x "$url" -o "$tmp/got" -w '%{http_connect}' http://forbidden:1/; echo " $?")" "403 56"
  check "CONNECT, a tunnel in a tunnel" "$(heads -p -x "$url" -X CONNECT --request-target there:1 http://inside.test/)" "200 403 "
  check "by a proxy, absolute form" "$(curl -sS -m 60 -x "$url" http://elsewhere.test/)" "hello"
  stop
fi
