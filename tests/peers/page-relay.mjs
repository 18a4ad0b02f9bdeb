// Relays that make a path long: page-relay.mjs MS FROM:TO … listens on loopback at each FROM, and hands bytes and ends to TO
// and back, each so many milliseconds later. Prints a line when all of them listen; ends after five minutes.
import net from 'node:net';
const [delay, ...pairs] = process.argv.slice(2);
const later = (what) => setTimeout(what, Number(delay));
const carry = (from, to) => {
  from.on('data', (bytes) => later(() => to.destroyed || to.write(bytes)));
  from.on('end', () => later(() => to.destroyed || to.end()));
  from.on('close', () => later(() => to.destroy()));
  from.on('error', () => later(() => to.destroy()));
};
await Promise.all(pairs.map((pair) => {
  const [from, to] = pair.split(':').map(Number);
  const server = net.createServer({ allowHalfOpen: true, noDelay: true }, (near) => {
    const far = net.connect({ port: to, host: '127.0.0.1', allowHalfOpen: true, noDelay: true });
    carry(near, far);
    carry(far, near);
  });
  return new Promise((done) => server.listen(from, '127.0.0.1', 64, done));
}));
console.log('listening on relay://127.0.0.1:0');
setTimeout(() => process.exit(0), 300_000);
