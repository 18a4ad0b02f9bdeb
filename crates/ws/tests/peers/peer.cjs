// npm `ws` as the other side: an echo server, or a client that tries one.
const crypto = require('crypto')
const { once } = require('events')
const { WebSocket, WebSocketServer } = require('ws')

const LARGEST = 2 << 20

function server() {
  const wss = new WebSocketServer({ host: '127.0.0.1', port: 0, maxPayload: LARGEST })
  wss.on('listening', () => console.log(`listening on ws://127.0.0.1:${wss.address().port}`))
  wss.on('connection', ws => ws.on('message', (data, binary) => ws.send(data, { binary })))
}

async function client(url) {
  console.log('ws', require('ws/package.json').version)
  const ws = new WebSocket(url, { maxPayload: LARGEST })
  await once(ws, 'open')
  if (ws.extensions !== '') throw new Error(`extensions ${ws.extensions}`)
  for (const size of [0, 1, 125, 126, 127, 65535, 65536, 70000, 1 << 20]) {
    for (const message of ['x'.repeat(size), crypto.randomBytes(size)]) {
      ws.send(message)
      const [data, binary] = await once(ws, 'message')
      const same = binary === (typeof message !== 'string') && data.equals(Buffer.from(message))
      if (!same) throw new Error(`another message came back, ${size} bytes`)
    }
  }
  ws.send('a', { fin: false })
  ws.ping('between')
  const [pong] = await once(ws, 'pong')
  ws.send('b', { fin: false })
  ws.send('c', { fin: true })
  const [data] = await once(ws, 'message')
  if (pong.toString() !== 'between' || data.toString() !== 'abc') throw new Error('fragments')
  ws.close(4321, 'bye')
  const [code, reason] = await once(ws, 'close')
  console.log('closed', code, JSON.stringify(reason.toString()))
  if (code !== 4321) throw new Error('the close')
  console.log('an echo of all')
}

if (process.argv[2] === 'server') server()
else client(process.argv[3]).catch(why => { console.error(why); process.exit(1) })
