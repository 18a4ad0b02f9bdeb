// A client by npm's ws: ws-client.cjs URL plain|deflate, of our echo server.
const WebSocket = require('ws');
const tell = (name, seen, wanted) => console.log([seen === wanted ? 'ok' : 'bad', name, seen].join('\t'));
const how = process.argv[3];
const socket = new WebSocket(process.argv[2], { perMessageDeflate: how === 'deflate' && { threshold: 0 } });
const messages = ['hello', '你好', Buffer.alloc(200, 1), 'x'.repeat(70000), Buffer.alloc(1 << 20, 2)];
let pongs = 0;
socket.on('open', () => {
  tell(`npm ws, ${how}, extensions`, socket.extensions.split(';')[0], how === 'deflate' ? 'permessage-deflate' : '');
  socket.ping('p'); messages.forEach((m) => socket.send(m));
});
socket.on('pong', (data) => { pongs += data.toString() === 'p' ? 1 : 0; });
socket.on('message', (data, binary) => {
  const sent = messages.shift();
  const same = binary ? Buffer.isBuffer(sent) && sent.equals(data) : sent === data.toString();
  tell(`npm ws, ${how}, ${binary ? 'binary' : 'text'} of ${data.length} B`, String(same), 'true');
  if (messages.length === 0) socket.close(1000, 'done');
});
socket.on('close', (code, reason) => {
  tell(`npm ws, ${how}, pong`, String(pongs), '1');
  tell(`npm ws, ${how}, close`, `${code} ${reason}`, '1000 done');
});
socket.on('error', (error) => tell('npm ws', error.message, 'no error'));
setTimeout(() => process.exit(1), 20_000).unref();
