// What Node's net does: prints its port, and runs until it is ended.
const net = require('net');
const echo = (socket) => {
  socket.on('data', (data) => {
    if (socket.write(data)) return;
    socket.pause();
    socket.once('drain', () => socket.resume());
  });
};
// Drops what comes; at its end it tells how much it was.
const sink = (socket) => {
  let total = 0n;
  socket.on('data', (data) => { total += BigInt(data.length); });
  socket.on('end', () => {
    const answer = Buffer.alloc(8);
    answer.writeBigUInt64LE(total);
    socket.end(answer);
  });
};
const serve = process.argv[2] === 'sink' ? sink : echo;
const server = net.createServer({ allowHalfOpen: serve === sink, noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  serve(socket);
});
server.listen(0, '127.0.0.1', 511, () => console.log(server.address().port));
