// Node's HTTP clients against http_server.rs: node-http.mjs PORT. Prints a verdict, a name and what was seen.
import http from 'node:http';
import net from 'node:net';

const port = Number(process.argv[2]);
const host = '127.0.0.1';
const tell = (name, seen, wanted) =>
  console.log([String(seen) === String(wanted) ? 'ok' : 'bad', name, seen].join('\t'));
// Nothing here takes long: who waits for something that does not come is ended, and says where.
let now = 'the beginning';
setTimeout(() => { console.log(`bad\t${now}\tit took more than five minutes`); process.exit(1); }, 300_000).unref();

const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
const text = async (stream) => {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return Buffer.concat(parts).toString();
};
// ask OPTIONS, SEND: the answer, its text, and what came before it.
const ask = (options, send = (request) => request.end()) => new Promise((resolve, reject) => {
  const before = [];
  const request = http.request({ port, host, agent, ...options }, async (response) => {
    try {
      const body = await text(response);
      resolve({ status: response.statusCode, body, response, request, before });
    } catch (error) { reject(error); }
  });
  request.on('information', (interim) => before.push(interim));
  request.on('error', reject);
  send(request, before);
});

now = 'keep-alive';
const ports = [];
for (const path of ['/', '/none', '/same', '/chunks', '/bytes/70000', '/parts/70000', '/']) {
  const { request, status, body } = await ask({ path });
  ports.push(request.reusedSocket);
  tell(`GET ${path}`, `${status} ${body.length}`, {
    '/': '200 6', '/none': '204 0', '/same': '304 0', '/chunks': '200 14',
    '/bytes/70000': '200 70000', '/parts/70000': '200 70000',
  }[path]);
}
tell('all on one connection', ports.join(' '), 'false true true true true true true');

now = 'HEAD';
const head = await ask({ path: '/bytes/1000000', method: 'HEAD' });
tell('HEAD, a length and no body', `${head.response.headers['content-length']} ${head.body.length}`, '1000000 0');
tell('behind HEAD', (await ask({ path: '/' })).request.reusedSocket, true);

now = 'chunks';
const upload = await ask({ path: '/', method: 'POST' }, (request) => {
  request.write('a'.repeat(100000));
  setTimeout(() => request.end('b'.repeat(100000)), 20);
});
tell('chunks up', upload.body.trim(), '200000 bytes');
tell('no trailers where none were sent', JSON.stringify(upload.response.trailers), '{}');
const length = await ask({ path: '/', method: 'PUT', headers: { 'Content-Length': 100000 } },
  (request) => request.end('a'.repeat(100000)));
tell('a length up', length.body.trim(), '100000 bytes');

now = 'trailers';
const down = await ask({ path: '/chunks' });
tell('trailers down', JSON.stringify(down.response.trailers), '{"x-sum":"3"}');
tell('trailers are no headers', down.response.headers['x-sum'], undefined);
const both = await ask({ path: '/echo', method: 'POST', headers: { Trailer: 'X-Sum, X-More' } }, (request) => {
  request.write('hello');
  request.addTrailers({ 'X-Sum': '5', 'X-More': 'yes' });
  request.end();
});
tell('trailers both ways', `${both.body} ${JSON.stringify(both.response.trailers)}`, 'hello {"x-sum":"5","x-more":"yes"}');

now = 'Expect: 100-continue';
const expecting = (path, size) => ask({
  path, method: 'PUT', headers: { Expect: '100-continue', 'Content-Length': size },
}, (request, before) => {
  request.on('continue', () => { before.push('continue'); request.end('x'.repeat(size)); });
  request.flushHeaders();
});
const wanted = await expecting('/', 100000);
tell('continue, then the body', `${wanted.before.length} ${wanted.status} ${wanted.body.trim()}`, '2 200 100000 bytes');
const refused = await expecting('/short', 1 << 21);
tell('413 instead of continue', `${refused.before.length} ${refused.status}`, '0 413');
refused.request.destroy();
tell('others go on', (await ask({ path: '/' })).status, 200);

now = 'informational answers';
const hints = await ask({ path: '/hints' });
tell('102 and 103', hints.before.map((interim) => interim.statusCode).join(' '), '102 103');
tell('103 has its header', hints.before[1]?.headers.link, '</style.css>; rel=preload');
tell('then the answer', `${hints.status} ${hints.body.trim()}`, '200 hints came before');

// switched OPTIONS, EVENT: the answer that ends HTTP, its socket, and what came behind it.
const switched = (options, event) => new Promise((resolve, reject) => {
  const request = http.request({ port, host, ...options });
  request.on(event, (response, socket, first) => resolve({ response, socket, first }));
  request.on('response', () => reject(new Error(`no ${event}`)));
  request.on('error', reject);
  request.end();
});
const echoed = async ({ socket, first }) => {
  socket.write('hello ');
  setTimeout(() => socket.end('and bye'), 20);
  return first + await text(socket);
};

now = 'upgrade';
const upgraded = await switched({ headers: { Connection: 'upgrade', Upgrade: 'echo' } }, 'upgrade');
tell('upgrade', `${upgraded.response.statusCode} ${upgraded.response.headers.upgrade}`, '101 echo');
tell('the next protocol', await echoed(upgraded), 'hello and bye');

now = 'CONNECT';
const tunnel = await switched({ method: 'CONNECT', path: 'echo:7' }, 'connect');
tell('CONNECT', tunnel.response.statusCode, 200);
tell('bytes through the tunnel', await echoed(tunnel), 'hello and bye');
const inner = await switched({ method: 'CONNECT', path: 'inside.test:80' }, 'connect');
const inside = { agent: undefined, createConnection: () => inner.socket, headers: { Host: 'inside.test', Connection: 'close' } };
const through = await ask({ ...inside, path: '/echo', method: 'POST' }, (request) => request.end('hello'));
tell('HTTP through the tunnel', `${through.status} ${through.body}`, '200 hello');
const closed = await switched({ method: 'CONNECT', path: 'forbidden:1' }, 'connect');
tell('CONNECT, forbidden', `${closed.response.statusCode} ${String(closed.first).trim()}`, '403 not there');
closed.socket.destroy();

now = 'pipelining';
const pipelined = await new Promise((resolve, reject) => {
  const socket = net.connect(port, host, async () => {
    const get = (path, last) => `GET ${path} HTTP/1.1\r\nHost: a\r\n${last}\r\n`;
    socket.write(get('/none', '') + get('/bytes/16', '') + get('/', 'Connection: close\r\n'));
    try { resolve(await text(socket)); } catch (error) { reject(error); }
  });
  socket.on('error', reject);
});
tell('three in one packet, in their order', [...pipelined.matchAll(/^HTTP\/1\.1 (\d+)|^(hello|abc\w+)$/gm)]
  .map((found) => found[1] ?? found[2]).join(' '), '204 200 abcdefghijklmno 200 hello');

now = 'a reader that waits';
const slow = await new Promise((resolve, reject) => {
  http.get({ port, host, agent, path: '/parts/16777216' }, (response) => {
    response.pause();
    setTimeout(() => text(response).then((body) => resolve(body), reject), 200);
  }).on('error', reject);
});
tell('16 MiB to one that waits first', `${slow.length} ${slow === 'abcdefghijklmno\n'.repeat(1 << 20)}`, '16777216 true');

now = 'a client that gives up';
await new Promise((resolve) => {
  const request = http.request({ port, host, path: '/echo', method: 'POST' }, (response) => {
    response.on('error', () => {});
    response.once('data', () => request.destroy());
  });
  request.on('error', () => {});
  request.on('close', resolve);
  request.write('x'.repeat(100000));
});
tell('one that gives up', (await ask({ path: '/' })).status, 200);
agent.destroy();

// Node's other client, undici.
now = 'fetch';
const base = `http://${host}:${port}`;
tell('fetch', (await (await fetch(`${base}/`)).text()).trim(), 'hello');
tell('fetch, chunks', (await (await fetch(`${base}/chunks`)).text()).replaceAll('\n', ' '), 'one two three ');
const stream = new Blob(['a'.repeat(100000), 'b'.repeat(100000)]).stream();
const posted = await fetch(`${base}/echo`, { method: 'POST', body: stream, duplex: 'half' });
tell('fetch, a stream both ways', (await posted.text()).length, 200000);
tell('fetch, behind 103', (await fetch(`${base}/hints`)).status, 200);
process.exit(0);
