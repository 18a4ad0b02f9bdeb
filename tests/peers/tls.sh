# TLS, in both directions: curl, openssl and Node against `serve` and `echo`; our `get`, `ws` and `bench` against nginx, Node and openssl.
if ! have openssl; then
  skip tls "openssl not found: apt-get install openssl"
else
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=localhost \
    -addext subjectAltName=DNS:localhost,IP:127.0.0.1 -addext basicConstraints=critical,CA:FALSE \
    -keyout "$tmp/key.pem" -out "$tmp/cert.pem" 2>"$tmp/req.err" || { cat "$tmp/req.err"; exit 1; }
  cert=$tmp/cert.pem key=$tmp/key.pem
  mkdir -p "$tmp/files" && head -c 20000000 /dev/urandom >"$tmp/files/big"
  sum() { sha256sum | cut -d ' ' -f 1; }
  want=$(sum <"$tmp/files/big")

  start serve "$tmp/files" -p 0 --tls-cert "$cert" --tls-key "$key" --ws-echo /echo
  at=https://localhost:$port
  if ! have curl; then
    skip "tls, curl" "not found: apt-get install curl"
  else
    for version in 1.2 1.3; do
      check "curl, TLS $version, 20 MB" "$(curl -sS --cacert "$cert" --tlsv$version --tls-max $version "$at/big" | sum)" "$want"
    done
    check "curl, ALPN" "$(curl -sSv --cacert "$cert" "$at/" 2>&1 >"$tmp/got" | grep -cE 'ALPN.*accepted.*http/1.1')" 1
    check "curl, one connection for two" "$(curl -sS --cacert "$cert" -o "$tmp/got" -o "$tmp/got" -w '%{num_connects}' "$at/" "$at/big")" 10
    check "curl, a stranger" "$(curl -s "$at/" -o "$tmp/got"; echo $?)" 60
    check "curl, another name" "$(curl -s --cacert "$cert" --resolve "elsewhere:$port:127.0.0.1" "https://elsewhere:$port/" -o "$tmp/got"; echo $?)" 60
    check "curl, HTTP to the port of TLS" "$(curl -s -o "$tmp/got" -w '%{response_code}' "http://$hostport/")" 400
    check "curl, TLS 1.1" "$(curl -s --cacert "$cert" --tls-max 1.1 "$at/" -o "$tmp/got"; echo $?)" 35
  fi
  # openssl FLAGS…: what its client says of one request.
  asks_openssl() {
    printf 'GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n' |
      timeout 20 openssl s_client -connect "$hostport" -servername localhost -CAfile "$cert" -ign_eof "$@" 2>&1
  }
  for version in 1_2 1_3; do
    asks_openssl -tls$version -sess_out "$tmp/session" >"$tmp/first"
    check "openssl s_client, TLS $version" "$(grep -oE '^New, TLSv|Verify return code: 0|^HTTP/1.1 404' "$tmp/first" | sort -u | wc -l)" 3
    check "openssl s_client, TLS $version, resumed" "$(asks_openssl -tls$version -sess_in "$tmp/session" | grep -cE '^Reused, TLSv')" 1
  done
  check "openssl s_client, it says that it closes" "$(asks_openssl -tls1_3 -msg | grep -c 'Alert.*close_notify\|warning close_notify' | awk '{print ($1 >= 1)}')" 1
  check "openssl s_client, no cipher in common" "$(asks_openssl -cipher AES128-SHA -tls1_2 | grep -ci 'alert handshake failure' | awk '{print ($1 >= 1)}')" 1
  # openssl's client takes a letter as a command at the beginning of a line.
  commands_openssl() { timeout 20 openssl s_client -connect "$hostport" -servername localhost -CAfile "$cert" "$@" 2>&1; }
  got=$({ sleep 0.5; echo R; sleep 1; } | commands_openssl -tls1_2 | grep -c 'RENEGOTIATING\|no renegotiation')
  check "openssl s_client, a renegotiation is refused" "$got" 2
  got=$({ sleep 0.5; for _ in 1 2 3; do echo K; sleep 0.1; done; printf 'GET /nothing HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'; sleep 1; } |
    commands_openssl -tls1_3 | grep -c '^KEYUPDATE\|^HTTP/1.1 404')
  check "openssl s_client, three updates of the keys" "$got" 4
  # The session is the one of TLS 1.3 from above.
  printf 'GET /nothing HTTP/1.1\r\nHost: a\r\n\r\n' >"$tmp/early"
  check "openssl s_client, no early data" "$(asks_openssl -tls1_3 -sess_in "$tmp/session" -early_data "$tmp/early" |
    grep -cE '^Early data was (not sent|rejected)|^HTTP/1.1 404')" 2
  if ! have node; then
    skip "tls, Node" "not found: apt-get install nodejs"
  else
    mapfile -t said < <(node "$here/tls-node.mjs" ask "$at/nothing" "$cert" 2>&1)
    check "Node, TLS 1.3" "${said[0]:0:11}" "TLSv1.3 404"
    check "Node, TLS 1.2" "${said[1]:0:11}" "TLSv1.2 404"
    check "Node, resumed" "${said[3]-}" resumed
  fi
  check "our ws, wss" "$(printf 'hello\n你好\n' | "$loopwork" ws --cacert "$cert" "wss://localhost:$port/echo" | tr '\n' ' ')" "hello 你好 "
  stop
  check "SIGTERM" "$code" 0

  start echo http --tls-cert "$cert" --tls-key "$key"
  if have curl; then
    got=$(curl -sS --cacert "$cert" --data-binary @"$tmp/files/big" "https://localhost:$port/" | sum)
    check "curl, 20 MB both ways" "$got" "$want"
  fi
  got=$("$loopwork" get -s --cacert "$cert" --data-binary @"$tmp/files/big" "https://localhost:$port/" | sum)
  check "our get, 20 MB both ways" "$got" "$want"
  stop

  # get FLAGS…: our client.
  gets() { "$loopwork" get -s --cacert "$cert" "$@"; }
  if ! have node; then
    skip "tls, Node's server" "not found: apt-get install nodejs"
  else
    launch node "$here/tls-node.mjs" serve "$cert" "$key"
    at=https://localhost:$port
    check "our get, Node" "$(gets "$at/")" "hello TLSv1.3 http/1.1"
    check "our get, Node, an upload" "$(gets --data-binary @"$tmp/files/big" "$at/")" "20000000 bytes"
    check "our bench, Node" "$("$loopwork" bench --cacert "$cert" -n 200 -c 4 --json "$at/" | grep -c '"requests":200')" 1
    check "our client, a session resumed at Node" "$(gets -H 'Connection: close' "$at/count" "$at/count" | grep -o ' [0-9]* resumed' | tr -d '\n')" " 0 resumed 1 resumed"
    stop
  fi
  nginx=$(command -v nginx || command -v /usr/sbin/nginx)
  if [ -z "$nginx" ]; then
    skip "tls, nginx" "not found: apt-get install nginx-light"
  else
    # Its workers are somebody else.
    chmod 755 "$tmp"
    mkdir -p "$tmp/nginx/www" && cp "$cert" "$key" "$tmp/nginx" && cp "$tmp/files/big" "$tmp/nginx/www"
    ports=($(shuf -i 20000-32000 -n 3))
    sed "s/PORT/${ports[0]}/; s/OLD/${ports[1]}/; s/KNOWN/${ports[2]}/" "$here/tls-nginx.conf" >"$tmp/nginx/nginx.conf"
    "$nginx" -p "$tmp/nginx" -c nginx.conf -e error.log 2>"$tmp/nginx.err" &
    pids+=($!)
    for _ in $(seq 100); do gets -o "$tmp/got" "https://localhost:${ports[0]}/session" && break; sleep 0.05; done
    check "our get, nginx" "$(gets "https://localhost:${ports[0]}/session")" "TLSv1.3 ."
    check "our get, nginx, 20 MB" "$(gets "https://localhost:${ports[0]}/big" | sum)" "$want"
    check "our get, nginx, TLS 1.2" "$(gets "https://localhost:${ports[1]}/")" "TLSv1.2"
    check "our get, nginx, our certificate" "$(gets --cert "$cert" --key "$key" "https://localhost:${ports[2]}/")" SUCCESS
    check "our get, nginx, without it" "$(gets -w '%{response_code}' -o "$tmp/got" "https://localhost:${ports[2]}/")" 400
    check "our bench, nginx" "$("$loopwork" bench --cacert "$cert" -n 200 -c 4 --json "https://localhost:${ports[0]}/session" | grep -c '"requests":200')" 1
    # A connection to each, one behind the other.
    check "our client, a session resumed at nginx" \
      "$("$loopwork" get -s --cacert "$cert" -H 'Connection: close' "https://localhost:${ports[0]}/session" "https://localhost:${ports[0]}/session")" "TLSv1.3 .TLSv1.3 r"
    kill -TERM "${pids[-1]}"; wait "${pids[-1]}" 2>/dev/null; unset 'pids[-1]'
  fi
  for version in 1_2 1_3; do
    own=$(shuf -i 20000-32000 -n 1)
    openssl s_server -accept "127.0.0.1:$own" -cert "$cert" -key "$key" -tls$version -www >"$tmp/s_server" 2>&1 &
    pids+=($!)
    for _ in $(seq 100); do gets -o "$tmp/got" "https://localhost:$own/" && break; sleep 0.05; done
    check "our get, openssl s_server, TLS $version" "$(gets "https://localhost:$own/" | grep -c 'Protocol.*TLSv'"${version/_/.}")" 1
    kill -TERM "${pids[-1]}"; wait "${pids[-1]}" 2>/dev/null; unset 'pids[-1]'
  done
fi
