// An echo server by npm's ws: ws-server.cjs plain|deflate. Prints its port; ends when it is killed, or after a minute.
const { WebSocketServer } = require('ws');
const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: process.argv[2] === 'deflate' && { threshold: 0 } }, () => console.log(server.address().port));
server.on('connection', (socket) => socket.on('message', (data, binary) => socket.send(data, { binary })));
setTimeout(() => process.exit(0), 60_000);
