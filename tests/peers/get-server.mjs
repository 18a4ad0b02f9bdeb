// The server that curl and `loopwork get` are compared with: it echoes what it saw, and does what its paths say.
// Prints `listening on http://IP:PORT`; ends when it is killed, or after ten minutes.
import http from 'node:http';
import zlib from 'node:zlib';
import net from 'node:net';

// What differs between any two programs and says nothing, and where the answer was asked.
const leave = new Set(['proxy-connection', 'x-leave']);

const echo = (request, body) => {
  const lines = [`${request.method} ${request.url} HTTP/${request.httpVersion}`];
  const headers = [];
  for (let i = 0; i < request.rawHeaders.length; i += 2) {
    const name = request.rawHeaders[i];
    if (!leave.has(name.toLowerCase())) headers.push(`${name}: ${request.rawHeaders[i + 1]}`);
  }
  return `${lines.concat(headers.sort()).join('\n')}\n\n${body.toString('latin1')}\n`;
};

const tries = new Map();
const bytes = 'abcdefghijklmnopqrstuvwxyz';

const ranged = (request, response) => {
  const range = /^bytes=(\d*)-(\d*)$/.exec(request.headers.range ?? '');
  if (!range) return response.end(bytes);
  const from = range[1] === '' ? bytes.length - Number(range[2]) : Number(range[1]);
  const to = range[1] === '' || range[2] === '' ? bytes.length - 1 : Math.min(Number(range[2]), bytes.length - 1);
  if (from >= bytes.length) {
    response.writeHead(416, { 'Content-Range': `bytes */${bytes.length}` });
    return response.end('no such range\n');
  }
  response.writeHead(206, { 'Content-Range': `bytes ${from}-${to}/${bytes.length}` });
  response.end(bytes.slice(from, to + 1));
};

const paths = {
  range: ranged,
  whole: (_, response) => response.end(bytes),
  chunks: (_, response) => { response.write('one\n'); response.write('two\n'); response.end('three\n'); },
  trailers: (_, response) => {
    response.writeHead(200, { Trailer: 'X-Sum', 'Transfer-Encoding': 'chunked' });
    response.write('body\n');
    response.addTrailers({ 'X-Sum': '5' });
    response.end();
  },
  long: (_, response) => { response.setHeader('X-Long', 'y'.repeat(40_000)); response.end('long\n'); },
  empty: (_, response) => response.end(),
  hints: (_, response) => { response.writeEarlyHints({ link: '</a.css>; rel=preload' }); response.end('hinted\n'); },
  named: (_, response) => { response.setHeader('Content-Disposition', 'attachment; filename="given.txt"'); response.end('named\n'); },
  typed: (_, response) => { response.setHeader('Content-Type', 'text/x-test; charset=utf-8'); response.setHeader('X-Two', ['a', 'b']); response.end('typed\n'); },
  cookies: (_, response) => {
    response.setHeader('Set-Cookie', ['a=1; Path=/', 'b=2; Path=/echo', 'c=3; Path=/; Max-Age=0', 'd=4; Domain=elsewhere.test']);
    response.end('set\n');
  },
  slow: (_, response) => { response.write('begun'); setTimeout(() => response.end(), 60_000).unref(); },
  cut: (_, response) => { response.writeHead(200, { 'Content-Length': 100 }); response.write('part', () => response.destroy()); },
};

// /coded/FIELD/HOW: a body that says it is of this Content-Encoding, and is made so.
function coded(response, field, how) {
  const text = Buffer.from('some text, and some more text, and some more\n'.repeat(10_000));
  const ways = {
    gzip: () => zlib.gzipSync(text),
    zlib: () => zlib.deflateSync(text),
    raw: () => zlib.deflateRawSync(text),
    both: () => zlib.gzipSync(zlib.deflateSync(text)),
    zeros: () => zlib.gzipSync(Buffer.alloc(50_000_000)),
    plain: () => text,
    none: () => '',
    cut: () => zlib.gzipSync(text).subarray(0, 500),
    bad: () => { const all = zlib.gzipSync(text); all[all.length - 6] ^= 1; return all; },
    garbage: () => Buffer.concat([zlib.gzipSync(text), Buffer.from('behind it')]),
  };
  const body = ways[how]();
  response.writeHead(200, { 'Content-Encoding': decodeURIComponent(field), 'Content-Length': body.length });
  response.end(body);
}

const web = http.createServer((request, response) => {
  const parts = [];
  request.on('data', (data) => parts.push(data));
  request.on('end', () => {
    // By a proxy the whole URL is asked for.
    const path = request.url.replace(/^http:\/\/[^/]*/, '');
    const [, first, second] = /^\/?([^/?]*)\/?([^?]*)/.exec(path);
    response.sendDate = false;
    if (/^3\d\d$/.test(first)) {
      // /302/TARGET: redirects to /TARGET, or to where `to:` says.
      const to = second.startsWith('to:') ? decodeURIComponent(second.slice(3)) : `/${second}`;
      response.writeHead(Number(first), { Location: to });
      return response.end('elsewhere\n');
    }
    if (/^[245]\d\d$/.test(first)) {
      response.writeHead(Number(first));
      return response.end(`status ${first}\n`);
    }
    if (first === 'loop') {
      response.writeHead(302, { Location: '/loop' });
      return response.end();
    }
    if (first === 'later') {
      // /later/KEY: 503 twice, then well; a key of its own for each run.
      const seen = (tries.get(second) ?? 0) + 1;
      tries.set(second, seen);
      response.writeHead(seen < 3 ? 503 : 200);
      return response.end(`try ${seen}\n`);
    }
    if (first === 'coded') return coded(response, ...second.split('/'));
    if (paths[first]) return paths[first](request, response);
    response.end(echo(request, Buffer.concat(parts)));
  });
});
web.keepAliveTimeout = 60_000;

// Answers that no server should give: /ssh, /status, /header, /chunk, /none.
const wild = net.createServer((socket) => {
  socket.on('error', () => {});
  socket.once('data', (data) => {
    const answers = {
      ssh: 'SSH-2.0-OpenSSH\r\n\r\n',
      header: 'HTTP/1.1 200 OK\r\nno colon\r\n\r\n',
      chunk: 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\nxyz\r\n',
      status: 'HTTP/1.1 abc\r\n\r\n',
      none: '',
    };
    socket.end(answers[/^GET \/(\w*)/.exec(data.toString('latin1'))?.[1]] ?? '');
  });
});

const listen = (server) => new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(server.address().port)));
const second = await listen(wild);
const first = await listen(web);
console.log(`listening on http://127.0.0.1:${first}`);
console.log(`wild ${second}`);
setTimeout(() => process.exit(0), 600_000);
