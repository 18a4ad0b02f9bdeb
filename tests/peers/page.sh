# `get --page` and headless Chromium, of one page by nginx, behind relays that are 20 ms long each way: a redirect to https, a
# style sheet, twelve images, a font. PICTURES=docs/img also leaves the picture of the load there.
modules=$(realpath -m "${CARGO_TARGET_DIR:-target}/peers/node")
nginx=$(command -v nginx || command -v /usr/sbin/nginx)
if ! have chromium || ! have node || [ -z "$nginx" ]; then
  skip page "not found: apt-get install chromium nodejs npm nginx-light"
elif ! [ -d "$modules/node_modules/playwright-core" ] &&
  ! npm install --silent --no-audit --no-fund --prefix "$modules" playwright-core@1 >/dev/null 2>&1; then
  skip page "npm cannot install playwright-core"
else
  # Its workers are somebody else.
  chmod 755 "$tmp"
  mkdir -p "$tmp/page/www" "$tmp/page/body"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 \
    -keyout "$tmp/page/key.pem" -out "$tmp/page/cert.pem" 2>"$tmp/page/openssl.err"
  {
    echo '<!doctype html><title>page</title><link rel=stylesheet href=style.css><p>text in the font'
    for n in $(seq 12); do
      echo "<img src=$n.png width=9 height=9>"
      # A picture of one pixel, and noise behind its end.
      { base64 -d <<<iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==; head -c "${n}000" /dev/urandom; } >"$tmp/page/www/$n.png"
    done
  } >"$tmp/page/www/index.html"
  echo '@font-face{font-family:own;src:url(own.woff2)}p{font-family:own}' >"$tmp/page/www/style.css"
  head -c 20000 /dev/urandom >"$tmp/page/www/own.woff2"
  ports=($(shuf -i 20000-32000 -n 4))
  sed "s/PLAIN/${ports[0]}/; s/SECURE/${ports[1]}/; s/FRONT/${ports[3]}/" "$here/page-nginx.conf" >"$tmp/page/nginx.conf"
  "$nginx" -p "$tmp/page" -c nginx.conf -e error.log 2>"$tmp/page/nginx.err" &
  pids+=($!)
  launch node "$here/page-relay.mjs" 20 "${ports[2]}:${ports[0]}" "${ports[3]}:${ports[1]}"
  site=http://127.0.0.1:${ports[2]}/
  for n in 1 2 3 4 5 6 7 8 9; do
    "$loopwork" get -k --page "$site" --har "$tmp/$n.har" --svg "$tmp/page.svg" >"$tmp/page.txt" 2>"$tmp/page.err"
    check "page, exit code and words" "$? $(cat "$tmp/page.err")" "0 "
  done
  while IFS=$'\t' read -r verdict name seen; do "$verdict" "$name" "$seen"; done \
    < <(MODULES=$modules timeout 120 node "$here/page-chromium.mjs" "$site" "$tmp"/[1-9].har)
  if [ -n "${PICTURES:-}" ]; then sed "s/127.0.0.1:[0-9]*/127.0.0.1/g" "$tmp/page.svg" >"$PICTURES/page.svg"; fi
  stop
  kill -TERM "${pids[-1]}"; wait "${pids[-1]}" 2>/dev/null; unset 'pids[-1]'
fi
