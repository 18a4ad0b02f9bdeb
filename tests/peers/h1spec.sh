# Two suites of raw requests that others wrote. No registry has them, so whoever has a copy says where:
#   H1SPEC=FOLDER      of github.com/dropseed/h1spec, in Python
#   H1SPEC_DENO=FOLDER of github.com/uNetworking/h1spec, for Deno, which npm has
modules=${CARGO_TARGET_DIR:-target}/peers/node
if [ -z "${H1SPEC:-}" ]; then
  skip "h1spec" "a copy of github.com/dropseed/h1spec is needed: H1SPEC=FOLDER"
elif ! have python3; then
  skip "h1spec" "python3 not found: apt-get install python3"
else
  start_peer mirror
  PYTHONPATH=$H1SPEC timeout 300 python3 -c 'import h1spec; h1spec.main()' --strict "$hostport" >"$tmp/h1spec" 2>&1
  code=$?
  seen=$(sed 's/\x1b\[[0-9;]*m//g' "$tmp/h1spec" | tail -n 1)
  if [ "$code" -eq 0 ]; then ok "h1spec, strict" "$seen"; else cat "$tmp/h1spec"; bad "h1spec, strict" "$seen"; fi
  stop
fi
if [ -z "${H1SPEC_DENO:-}" ]; then
  skip "h1spec for Deno" "a copy of github.com/uNetworking/h1spec is needed: H1SPEC_DENO=FOLDER"
elif ! have npm; then
  skip "h1spec for Deno" "npm not found: apt-get install npm"
elif ! [ -x "$modules/node_modules/.bin/deno" ] && ! npm install --silent --prefix "$modules" deno@2 >/dev/null 2>&1; then
  skip "h1spec for Deno" "npm cannot install deno"
else
  start_peer mirror
  # It gives an answer half a second, which a busy machine may need for something else: three tries.
  for _ in 1 2 3; do
    timeout 300 "$modules/node_modules/.bin/deno" run --no-check --no-prompt --allow-net=127.0.0.1 "$H1SPEC_DENO/http_test.ts" \
      127.0.0.1 "$port" >"$tmp/h1spec" 2>&1
    code=$?
    [ "$code" -eq 0 ] && break
  done
  seen=$(tail -n 1 "$tmp/h1spec")
  if [ "$code" -eq 0 ]; then ok "h1spec for Deno" "$seen"; else cat "$tmp/h1spec"; bad "h1spec for Deno" "$seen"; fi
  stop
fi
