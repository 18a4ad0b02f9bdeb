# Name servers that others wrote: dnsmasq answers, and dig asks the same.
if ! have dnsmasq || ! have dig; then
  skip dns 'needs dnsmasq and dig: apt-get install dnsmasq-base bind9-dnsutils'
else
  dns_port=$((20000 + RANDOM % 20000))
  texts=(); for n in $(seq 40); do texts+=("--txt-record=long.example,line $n of a text that does not fit a datagram"); done
  dnsmasq --no-daemon --conf-file=/dev/null --no-resolv --no-hosts --listen-address=127.0.0.1 --bind-interfaces \
    --user="$(id -un)" --port="$dns_port" --local=/example/ --local-ttl=60 \
    --host-record=www.example,192.0.2.1,2001:db8::1 --cname=alias.example,www.example \
    --mx-host=example,mx.example,10 --srv-host=_http._tcp.example,www.example,80,1,2 \
    --txt-record=example,'a "text"',another "${texts[@]}" >"$tmp/dnsmasq.log" 2>&1 &
  pids+=($!)
  server=@127.0.0.1:$dns_port
  ask() { "$loopwork" dns "$@" "$server" 2>"$tmp/dns.err" | awk '{$1 = $1; print}' | sort; }
  asked() { dig @127.0.0.1 -p "$dns_port" +noall +answer +tries=1 "$@" | awk '{$1 = $1; print}' | sort; }
  for _ in $(seq 100); do asked www.example A | grep -q 192 && break; sleep 0.05; done
  for question in 'www.example A' 'www.example AAAA' 'alias.example A' 'alias.example CNAME' 'example MX' \
    '_http._tcp.example SRV' 'example TXT' 'long.example TXT'; do
    # shellcheck disable=SC2086
    check "dns $question, as dig" "$(ask $question | md5sum)" "$(asked $question | md5sum)"
    # shellcheck disable=SC2086
    [ -n "$(ask $question)" ] || bad "dns $question" 'nothing was said'
  done
  check 'dns of an address' "$(ask 192.0.2.1 | awk '{print $5}')" www.example.
  check 'dns long.example, how' "$(ask long.example TXT >/dev/null; grep -c '(tcp)' "$tmp/dns.err")" 1
  check 'dns +tcp' "$(ask www.example +tcp | awk '{print $5}')" 192.0.2.1
  "$loopwork" dns none.example "$server" >/dev/null 2>"$tmp/dns.err"
  check 'dns of no name, code and words' "$? $(grep -c 'no such name' "$tmp/dns.err")" '1 1'
  stop
fi
