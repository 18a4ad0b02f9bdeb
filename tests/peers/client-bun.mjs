// Bun's server for our client.
const line = 'abcdefghijklmno\n';
const block = new TextEncoder().encode(line.repeat(4096));

function lines(n) {
  return new ReadableStream({
    pull(to) {
      if (n === 0) return to.close();
      const part = block.slice(0, Math.min(n, block.length));
      n -= part.length;
      to.enqueue(part);
    },
  });
}

const server = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  maxRequestBodySize: 2 ** 43,
  idleTimeout: 120,
  async fetch(req) {
    const [, name, n] = new URL(req.url).pathname.split('/');
    if (req.method === 'POST') {
      let count = 0, equal = true;
      for await (const part of req.body ?? []) {
        for (let i = 0; i < part.length; i += 997) equal &&= part[i] === block[(count + i) % 16];
        count += part.length;
      }
      return new Response(`${count} bytes, ${equal ? 'as they should be' : 'which differ'}`);
    }
    switch (name) {
      case 'length': return new Response(block.slice(0, Number(n)));
      case 'chunks': return new Response(lines(Number(n)));
      case 'moved': return Response.redirect('/length/16', 307);
      case 'none': return new Response(null, { status: 204 });
      case 'same': return new Response(null, { status: 304, headers: { ETag: '"1"' } });
      default: return new Response('hello');
    }
  },
});
console.log(`listening on http://127.0.0.1:${server.port}`);
