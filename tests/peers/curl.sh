# curl against `echo http` and `serve`.
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
fi
