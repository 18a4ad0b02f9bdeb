// Node's http as a server for our client: it says how many connections came, and what of a body is not as it should be.
import http from 'node:http';

const line = 'abcdefghijklmno\n';
const block = Buffer.from(line.repeat(4096));
let connections = 0;

// Sends N bytes of lines, as fast as they are taken.
function send(res, n) {
  while (n > 0) {
    const part = block.subarray(0, Math.min(n, block.length));
    n -= part.length;
    if (!res.write(part) && n > 0) return res.once('drain', () => send(res, n));
  }
  res.end();
}

// Counts a body, and compares it with lines.
function count(req, res) {
  let n = 0, equal = true;
  req.on('data', (part) => {
    for (let at = 0; at < part.length && equal;) {
      const from = (n + at) % 16, len = Math.min(part.length - at, block.length - 16);
      equal = part.compare(block, from, from + len, at, at + len) === 0;
      at += len;
    }
    n += part.length;
  });
  req.on('end', () => res.end(`${n} bytes, ${equal ? 'as they should be' : 'which differ'}`));
}

const server = http.createServer({ keepAliveTimeout: 500 }, (req, res) => {
  const [, name, n] = req.url.split('/');
  if (req.method === 'POST' || req.method === 'PUT') {
    if (name === 'refused') return res.writeHead(413, { Connection: 'close' }).end('too long');
    return count(req, res);
  }
  switch (name) {
    case 'length': return res.writeHead(200, { 'Content-Length': n }) && send(res, Number(n));
    case 'chunks': return send(res, Number(n));
    case 'connections': return res.end(`${connections} connections`);
    case 'hints': return res.writeEarlyHints({ link: '</a.css>; rel=preload' }), res.writeProcessing(), res.end('hints came before');
    case 'trailers': return res.writeHead(200, { Trailer: 'X-Sum' }), res.write('body'), res.addTrailers({ 'X-Sum': '3' }), res.end();
    case 'none': return res.writeHead(204).end();
    case 'same': return res.writeHead(304, { ETag: '"1"' }).end();
    case 'moved': return res.writeHead(302, { Location: '/length/16' }).end();
    // Until the connection ends, as HTTP/1.0 does it.
    case 'closed': return res.useChunkedEncodingByDefault = false, res.removeHeader('Transfer-Encoding'), res.shouldKeepAlive = false, send(res, Number(n));
    // Less than was said.
    case 'cut': return res.writeHead(200, { 'Content-Length': 100 }), res.write('short'), setTimeout(() => req.socket.destroy(), 50);
    case 'cut-chunks': return res.write('short'), setTimeout(() => req.socket.destroy(), 50);
    case 'silent': return req.socket.destroy();
    default: return res.end('hello');
  }
});
server.on('connection', () => connections++);
const echo = (socket, head) => { socket.write(head); socket.pipe(socket); };
server.on('upgrade', (req, socket, head) => {
  socket.write('HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n');
  echo(socket, head);
});
server.on('connect', (req, socket, head) => {
  socket.write('HTTP/1.1 200 OK\r\n\r\n');
  echo(socket, head);
});
server.on('checkContinue', (req, res) => {
  if (req.url.startsWith('/refused')) return res.writeHead(417, { Connection: 'close' }).end('no');
  res.writeContinue();
  count(req, res);
});
server.listen(0, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
