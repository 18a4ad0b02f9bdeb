// Clients by Node: node-clients.mjs TCP UDP HTTP, the ports of our echo servers. Prints a verdict, a name and what was seen.
import net from 'node:net';
import dgram from 'node:dgram';
import http from 'node:http';

const [tcp, udp, web] = process.argv.slice(2).map(Number);
const tell = (name, seen, wanted) =>
  console.log([seen === wanted ? 'ok' : 'bad', name, seen].join('\t'));
const host = '127.0.0.1';

// net: the greeting, an answer, half-close, 1 MiB both ways.
await new Promise((resolve) => {
  const parts = [];
  const big = Buffer.alloc(1 << 20, 'x');
  const socket = net.connect({ port: tcp, host, allowHalfOpen: true }, () => socket.end(big));
  socket.on('data', (data) => parts.push(data));
  socket.on('end', () => {
    const all = Buffer.concat(parts).toString();
    tell('net, greeting', all.slice(0, 4), '欢迎光临');
    tell('net, 1 MiB echoed behind a half-close', String(all.length - 5), String(big.length));
  });
  socket.on('close', (hadError) => { tell('net, close', String(hadError), 'false'); resolve(); });
});

// dgram: small, empty, largest.
await new Promise((resolve) => {
  const socket = dgram.createSocket('udp4');
  const sizes = [5, 0, 65507];
  const next = () => socket.send(Buffer.alloc(sizes[0], 7), udp, host);
  socket.on('message', (message) => {
    tell('dgram', String(message.length), String(sizes.shift()));
    if (sizes.length === 0) { socket.close(); resolve(); } else next();
  });
  next();
});

// http: an agent that keeps its connection, a streamed body.
const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const ask = (options, body) => new Promise((resolve, reject) => {
  const request = http.request({ port: web, host, agent, ...options }, (response) => {
    const parts = [];
    response.on('data', (data) => parts.push(data));
    response.on('end', () => resolve({ response, request, text: Buffer.concat(parts).toString() }));
  });
  request.on('error', reject);
  for (const part of body ?? []) request.write(part);
  request.end();
});
const first = await ask({ path: '/' });
tell('http GET', `${first.response.statusCode} ${first.text.trim()}`, '200 欢迎光临');
const second = await ask({ path: '/', method: 'POST' }, ['a'.repeat(100000), 'b'.repeat(100000)]);
tell('http POST in chunks', String(second.text.length), '200000');
tell('http keep-alive', String(second.request.reusedSocket), 'true');
agent.destroy();
