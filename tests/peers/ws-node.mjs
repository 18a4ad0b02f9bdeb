// Node's own WebSocket as a client: ws-node.mjs URL, of our echo server. Before Node 22 it wants --experimental-websocket.
const tell = (name, seen, wanted) => console.log([seen === wanted ? 'ok' : 'bad', name, seen].join('\t'));
const socket = new WebSocket(process.argv[2]);
socket.binaryType = 'arraybuffer';
const messages = ['hello', '你好', new Uint8Array(200).fill(1), 'x'.repeat(70_000), new Uint8Array(1 << 20).fill(2)];
socket.onopen = () => {
  tell('Node, extensions', socket.extensions.split(';')[0], process.argv[3]);
  messages.forEach((message) => socket.send(message));
};
socket.onmessage = ({ data }) => {
  const sent = messages.shift();
  const same = typeof data === 'string' ? data === sent : Buffer.from(data).equals(Buffer.from(sent));
  tell(`Node, ${typeof data} of ${data.length ?? data.byteLength}`, String(same), 'true');
  if (messages.length === 0) socket.close(1000, 'done');
};
socket.onclose = ({ code, reason, wasClean }) => tell('Node, close', `${code} ${reason} ${wasClean}`, '1000 done true');
socket.onerror = () => tell('Node', 'an error', 'no error');
setTimeout(() => process.exit(1), 20_000).unref();
