# Headless Chromium opens a page of `serve`, and the page's WebSocket echoes.
if ! have chromium; then
  skip chromium "not found: apt-get install chromium"
else
  mkdir -p "$tmp/site"
  cp "$here/page.html" "$tmp/site/index.html"
  start serve "$tmp/site" -p 0 --ws-echo /echo
  dom=$(timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync --user-data-dir="$tmp/profile" \
    --timeout=5000 --virtual-time-budget=10000 --dump-dom "$url/" 2>/dev/null)
  check "page and echo" "$(grep -o 'echoed: [^<]*' <<<"$dom" | head -n 1)" "echoed: 你好, 5 bytes"
  start serve docs -p 0
  dom=$(timeout 60 chromium --headless --no-sandbox --disable-gpu --disable-quic --no-first-run \
    --disable-background-networking --disable-component-update --disable-sync --user-data-dir="$tmp/profile2" \
    --dump-dom "$url/" 2>/dev/null)
  check "listing" "$(grep -o 'dependencies.md' <<<"$dom" | head -n 1)" "dependencies.md"
  stop; stop
fi
