// What one writes for Node, and for Bun: prints its port, and runs until it is ended. `fixed` is for Bun alone: an answer that
// no function is called for.
const BODY = 'Hello, World!';
const headers = { 'Content-Type': 'text/plain' };
if (typeof Bun !== 'undefined') {
  const what = process.argv[2] === 'fixed'
    ? { routes: { '/': new Response(BODY, { headers }) }, fetch: () => new Response('', { status: 404 }) }
    : { fetch: () => new Response(BODY, { headers }) };
  const server = Bun.serve({ port: 0, hostname: '127.0.0.1', ...what });
  console.log(server.port);
} else {
  const server = require('node:http').createServer((request, response) => {
    response.writeHead(200, { ...headers, 'Content-Length': BODY.length });
    response.end(BODY);
  });
  server.listen(0, '127.0.0.1', () => console.log(server.address().port));
}
