// An https server that says where it listens, and a client of one: node tls-node.mjs serve CERT KEY | ask URL CERT
import fs from 'node:fs';
import https from 'node:https';
import tls from 'node:tls';
const [what, ...rest] = process.argv.slice(2);
if (what === 'serve') {
  const [cert, key] = rest.map((path) => fs.readFileSync(path));
  // `secure` counts handshakes, and those that went on with an earlier session.
  let all = 0, resumed = 0;
  const server = https.createServer({ cert, key, minVersion: 'TLSv1.2' }, (request, response) => {
    let bytes = 0;
    request.on('data', (chunk) => { bytes += chunk.length; });
    request.on('end', () => {
      const { socket } = request;
      const said = request.url === '/count' ? `${all} handshakes, ${resumed} resumed`
        : request.method === 'POST' ? `${bytes} bytes`
        : `hello ${socket.getProtocol()} ${socket.alpnProtocol}`;
      response.end(said);
    });
  });
  server.on('secureConnection', (socket) => { all += 1; resumed += socket.isSessionReused(); });
  server.listen(0, '127.0.0.1', () => console.log(`listening on https://127.0.0.1:${server.address().port}`));
} else {
  const [url, ca] = [rest[0], fs.readFileSync(rest[1])];
  const ask = (options) => new Promise((resolve, reject) => {
    const request = https.request(url, { ca, servername: 'localhost', ...options }, (response) => {
      let body = '';
      response.on('data', (chunk) => { body += chunk; });
      response.on('end', () => resolve([response.socket.getProtocol(), response.statusCode, body.trim()].join(' ')));
    });
    request.on('error', reject);
    request.end(options.body);
  });
  console.log(await ask({ agent: false }));
  console.log(await ask({ agent: false, maxVersion: 'TLSv1.2' }));
  console.log(await ask({ agent: false, method: 'POST', body: 'x'.repeat(1e6) }).then((text) => text.length));
  // The session of one connection for the next.
  const { hostname, port } = new URL(url);
  const connect = (session) => new Promise((resolve) => {
    let reused;
    const socket = tls.connect({ host: hostname, port, ca, servername: 'localhost', session }, () => {
      reused = socket.isSessionReused();
      socket.on('data', () => {});
      socket.write('GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n');
    });
    let ticket;
    socket.on('session', (given) => { ticket = given; });
    socket.on('close', () => resolve([ticket, reused]));
  });
  const [ticket] = await connect();
  console.log((await connect(ticket))[1] ? 'resumed' : 'not resumed');
}
