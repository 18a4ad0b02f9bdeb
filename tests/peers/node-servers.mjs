// Servers by Node: prints the ports of net, dgram and http; ends when it is killed, or after a minute.
import net from 'node:net';
import dgram from 'node:dgram';
import http from 'node:http';

const listen = (server) => new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));

// Answers only at the client's end: who does not half-close gets nothing.
const tcp = net.createServer({ allowHalfOpen: true }, (socket) => {
  const parts = [];
  socket.on('data', (data) => parts.push(data));
  socket.on('end', () => socket.end(`echo: ${Buffer.concat(parts)}`));
});
const udp = dgram.createSocket('udp4');
udp.on('message', (message, from) => udp.send(`echo: ${message}`, from.port, from.address));
const web = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (data) => parts.push(data));
  request.on('end', () => response.end(`${request.method} ${request.url} ${Buffer.concat(parts)}`));
});
const bound = new Promise((resolve) => udp.bind(0, '127.0.0.1', () => resolve(udp.address().port)));
console.log([await listen(tcp), await bound, await listen(web)].join(' '));
setTimeout(() => process.exit(0), 60_000);
