// What Node's dgram does: prints its port, and runs until it is ended.
const dgram = require('dgram');
const socket = dgram.createSocket('udp4');
const ASK = Buffer.from('how many');
let count = 0n;
const echo = (bytes, from) => socket.send(bytes, from.port, from.address);
// Counts what comes; asked, it tells how many it was.
const sink = (bytes, from) => {
  if (!bytes.equals(ASK)) { count += 1n; return; }
  const answer = Buffer.alloc(8);
  answer.writeBigUInt64LE(count);
  socket.send(answer, from.port, from.address);
};
socket.on('message', process.argv[2] === 'sink' ? sink : echo);
socket.bind(0, '127.0.0.1', () => console.log(socket.address().port));
