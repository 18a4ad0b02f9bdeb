# Our client, by http_client.rs, against nginx, Node, Python's http.server and Bun; and bodies of 5 GiB (HUGE: another number) both ways.
huge=${HUGE:-5368709120}
cargo build --release --quiet -p loopwork-benches --bin http-client || exit 1
asks() { timeout 900 "$(dirname "$loopwork")/http-client" "127.0.0.1:$port" "$@"; }
# served NAME REQUEST ANSWER [REQUEST ANSWER …]: all over one client, in turn.
served() {
  local name=$1 requests=() answers=() saw
  shift
  while [ $# -gt 0 ]; do requests+=("$1"); answers+=("$2"); shift 2; done
  mapfile -t saw < <(asks "${requests[@]}" 2>&1)
  for i in "${!requests[@]}"; do check "$name, ${requests[i]}" "${saw[i]-}" "${answers[i]}"; done
}
# constant NAME REQUEST ANSWER: of $huge bytes, with as much memory as for 8 MiB.
constant() {
  local name=$1 few much
  few=$(PEAK=1 asks "${2//HUGE/8388608}" | tail -n 1)
  much=$(PEAK=1 asks "${2//HUGE/$huge}")
  check "$name, ${2//HUGE/$huge}" "${much%%$'\n'*}" "${3//HUGE/$huge}"
  few=${few//[!0-9]/} much=${much##*$'\n'} much=${much//[!0-9]/}
  local grown=$((much - few))
  if [ "$grown" -lt 2048 ]; then ok "$name, memory" "$grown KiB more than $few KiB"; else bad "$name, memory" "$grown KiB more than $few KiB"; fi
}

node_at=0
if ! have node; then
  skip "client, Node" "not found: apt-get install nodejs"
else
  launch node "$here/client-node.mjs"; node_at=$port
  served "our client, Node" \
    "GET /hello times=1000" "1000 times 200 hello" \
    "GET /connections" "200 1 connections" \
    "GET /length/100000 show=Content-Length" "200 Content-Length=100000 100000 bytes of lines" \
    "GET /chunks/1000000 show=Transfer-Encoding" "200 Transfer-Encoding=chunked 1000000 bytes of lines" \
    "HEAD /length/100000 show=Content-Length" "200 Content-Length=100000" \
    "GET /none" "204" \
    "GET /same" "304" \
    "GET /hints" "103 102 200 hints came before" \
    "GET /trailers" "200 body + X-Sum: 3" \
    "GET /moved show=Location" "302 Location=/length/16" \
    "POST /count length=1000000" "200 1000000 bytes, as they should be" \
    "POST /count chunks=1000000" "200 1000000 bytes, as they should be" \
    "POST /count length=1000000 Expect:100-continue" "100 200 1000000 bytes, as they should be" \
    "POST /refused length=1000000 Expect:100-continue" "417 no" \
    "POST /refused length=100000000" "413 too long" \
    "GET /closed/1000000 show=Connection" "200 Connection=close 1000000 bytes of lines" \
    "GET /cut" "200 short failed: the connection ended before the response did" \
    "GET /cut-chunks" "200 short failed: the connection ended before the response did" \
    "GET /silent" "failed: the connection ended before the response did" \
    "GET /chat upgrade Upgrade:echo say=to-and-fro" "101 to-and-fro" \
    "CONNECT 127.0.0.1:7 say=to-and-fro" "200 to-and-fro"
  # It closes a free connection after 0.5 s; and a request that meets that is asked again.
  served "our client, Node's idle timeout" \
    "GET /hello" "200 hello" "GET /hello wait=490" "200 hello" "GET /hello wait=495" "200 hello" \
    "GET /hello wait=500" "200 hello" "GET /hello wait=505" "200 hello" "GET /hello wait=1000" "200 hello"
  constant "our client, Node" "GET /length/HUGE" "200 HUGE bytes of lines"
  constant "our client, Node" "GET /chunks/HUGE" "200 HUGE bytes of lines"
  constant "our client, Node" "POST /count length=HUGE" "200 HUGE bytes, as they should be"
  constant "our client, Node" "POST /count chunks=HUGE" "200 HUGE bytes, as they should be"
fi

if ! have nginx; then
  skip "client, nginx" "not found: apt-get install nginx-light"
else
  mkdir -p "$tmp/nginx/www/put" "$tmp/nginx/body"
  printf hello >"$tmp/nginx/www/small"
  printf 'page: <!--#echo var="request_method" -->' >"$tmp/nginx/www/page"
  yes abcdefghijklmno | head -c 1000000 >"$tmp/nginx/www/lines"
  truncate -s "$huge" "$tmp/nginx/www/zeros"
  truncate -s 8388608 "$tmp/nginx/www/few-zeros"
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  chmod -R a+rwX "$tmp" # Its worker may be another user.
  sed "s/PORT/$port/; s/NODE/$node_at/" "$here/client-nginx.conf" >"$tmp/nginx/nginx.conf"
  nginx -p "$tmp/nginx" -c nginx.conf -e error.log &
  pids+=($!)
  for _ in $(seq 100); do (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.05; done
  served "our client, nginx" \
    "GET /served times=1000" "1000 times 200 request 1000" \
    "GET /small show=Content-Length" "200 Content-Length=5 hello" \
    "GET /page show=Transfer-Encoding" "200 Transfer-Encoding=chunked page: GET + X-Served: yes" \
    "HEAD /lines show=Content-Length" "200 Content-Length=1000000" \
    "GET /lines" "200 1000000 bytes of lines" \
    "GET /lines Range:bytes=16-31 show=Content-Range" "206 Content-Range=bytes 16-31/1000000 abcdefghijklmno\\n" \
    "GET /lines Range:bytes=-16" "206 abcdefghijklmno\\n" \
    "HEAD /lines Range:bytes=1000000- show=Content-Range" "416 Content-Range=bytes */1000000" \
    "HEAD /moved show=Location" "301 Location=http://127.0.0.1:$port/small" \
    "GET /none" "204" \
    "PUT /put/a length=1000000" "201" \
    "PUT /put/b chunks=1000000" "201" \
    "PUT /put/c length=1000000 Expect:100-continue" "100 201" \
    "GET /put/b" "200 1000000 bytes of lines" \
    "DELETE /put/b" "204" \
    "GET /served" "200 request 1015" \
    "GET /last show=Connection" "200 Connection=close last" \
    "GET /drop" "failed: the connection ended before the response did" \
    "GET /served" "200 request 1"
  check "nginx, what was put" "$(cmp "$tmp/nginx/www/put/a" "$tmp/nginx/www/lines" && cmp "$tmp/nginx/www/put/c" "$tmp/nginx/www/lines" && echo the same)" "the same"
  if [ "$node_at" != 0 ]; then
    served "our client, nginx before Node" \
      "GET /node/trailers" "200 body" \
      "GET /node/chunks/1000000" "200 1000000 bytes of lines" \
      "POST /node/count chunks=1000000" "200 1000000 bytes, as they should be" \
      "GET /node/chat upgrade Upgrade:echo say=to-and-fro" "101 to-and-fro"
  fi
  few=$(PEAK=1 asks "GET /few-zeros" | tail -n 1); few=${few//[!0-9]/}
  much=$(PEAK=1 asks "GET /zeros")
  check "our client, nginx, GET /zeros" "${much%%$'\n'*}" "200 $huge zeros"
  much=${much##*$'\n'}; grown=$((${much//[!0-9]/} - few))
  if [ "$grown" -lt 2048 ]; then ok "our client, nginx, memory" "$grown KiB more than $few KiB"; else bad "our client, nginx, memory" "$grown KiB more than $few KiB"; fi
  kill "${pids[-1]}"; unset 'pids[-1]'
fi

mkdir -p "$tmp/python"
printf hello >"$tmp/python/small"
yes abcdefghijklmno | head -c 1000000 >"$tmp/python/lines"
for protocol in 1.0 1.1; do
  port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
  python3 - "$port" "HTTP/$protocol" "$tmp/python" <<'P' >/dev/null 2>&1 &
import functools, http.server, sys
port, protocol, root = sys.argv[1:]
http.server.test(functools.partial(http.server.SimpleHTTPRequestHandler, directory=root), http.server.ThreadingHTTPServer, protocol, int(port), '127.0.0.1')
P
  pids+=($!)
  for _ in $(seq 100); do (: >"/dev/tcp/127.0.0.1/$port") 2>/dev/null && break; sleep 0.05; done
  served "our client, http.server $protocol" \
    "GET /small times=20" "20 times 200 hello" \
    "HEAD /lines show=Content-Length" "200 Content-Length=1000000" \
    "GET /lines" "200 1000000 bytes of lines" \
    "HEAD /absent" "404" \
    "GET /small" "200 hello"
  kill "${pids[-1]}"; unset 'pids[-1]'
done

bun=${CARGO_TARGET_DIR:-target}/peers/node/node_modules/.bin/bun
if [ ! -x "$bun" ]; then
  skip "client, Bun" "not found: benches/versus/install-bun"
else
  launch "$bun" "$here/client-bun.mjs"
  served "our client, Bun" \
    "GET /hello times=1000" "1000 times 200 hello" \
    "GET /length/60000 show=Content-Length" "200 Content-Length=60000 60000 bytes of lines" \
    "GET /chunks/1000000 show=Transfer-Encoding" "200 Transfer-Encoding=chunked 1000000 bytes of lines" \
    "HEAD /length/60000 show=Content-Length" "200 Content-Length=60000" \
    "GET /none" "204" \
    "GET /same" "304" \
    "GET /moved show=Location" "307 Location=/length/16" \
    "POST /count length=1000000" "200 1000000 bytes, as they should be" \
    "POST /count chunks=1000000" "200 1000000 bytes, as they should be" \
    "POST /count length=1000000 Expect:100-continue" "100 200 1000000 bytes, as they should be"
  constant "our client, Bun" "POST /count chunks=HUGE" "200 HUGE bytes, as they should be"
  stop
fi
