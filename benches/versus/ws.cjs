// An echo server for Bun, and for Node with npm's ws: prints its port, and runs until it is ended. Nothing is compressed, and a
// message of a mebibyte is no reason to drop anything.
const MOST = 64 * 1024 * 1024;
if (typeof Bun !== 'undefined') {
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    fetch: (request, server) => (server.upgrade(request) ? undefined : new Response('', { status: 426 })),
    websocket: { maxPayloadLength: MOST, backpressureLimit: MOST, message: (socket, message) => void socket.send(message) },
  });
  console.log(server.port);
} else {
  const { WebSocketServer } = require('ws');
  const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false }, () => console.log(server.address().port));
  server.on('connection', (socket) => socket.on('message', (data, binary) => socket.send(data, { binary })));
}
