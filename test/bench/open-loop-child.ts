// An open loop: requests are sent when they are due, whatever became of those before, and how long one took counts from when it was due.
// A server that stalls is thus seen by all that came meanwhile, which a closed loop (wrk) hides.
//   open-loop-child.ts URL FILE RATE SECONDS     bodies are the lines of FILE, in turn; prints {"perSecond", "p50", "p99", "p999", "max"}, ms
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'

const [, , target, file, rateText, secondsText] = process.argv as [string, string, string, string, string, string]
const url = new URL(target)
const rate = Number(rateText)
const seconds = Number(secondsText)
const connections = 64
const requests = readFileSync(file, 'utf8')
  .trim()
  .split('\n')
  .map((body) =>
    Buffer.from(
      `POST ${url.pathname} HTTP/1.1\r\nHost: ${url.host}\r\nContent-Type: application/json\r\nContent-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`,
    ),
  )
const total = Math.round(rate * seconds)
const tookMs = new Float64Array(total)
const waiting: number[] = []
const free: Connection[] = []
let answered = 0

interface Connection {
  readonly socket: Socket
  /** When what it was asked was due. */
  dueMs: number
  received: string
}

for (let i = 0; i < connections; i++) {
  const socket = connect(Number(url.port), url.hostname).setNoDelay()
  await new Promise((resolve) => socket.once('connect', resolve))
  const connection: Connection = { socket, dueMs: 0, received: '' }
  socket.on('data', (bytes) => receive(connection, bytes))
  socket.on('error', fail)
  socket.on('close', () => fail(new Error('the server closed a connection')))
  free.push(connection)
}

const began = performance.now()
let sent = 0
let asked = 0
const { promise: isDone, resolve: done } = Promise.withResolvers<void>()
turn()
await isDone
const lastedMs = performance.now() - began
tookMs.sort()
const at = (part: number) => tookMs[Math.min(total - 1, Math.floor(total * part))]
const figures = { perSecond: total / (lastedMs / 1_000), p50: at(0.5), p99: at(0.99), p999: at(0.999), max: at(1) }
process.stdout.write(`${JSON.stringify(figures)}\n`)
process.exit(0)

function turn(): void {
  const now = performance.now()
  for (; sent < total && began + (sent / rate) * 1_000 <= now; sent++) {
    const dueMs = began + (sent / rate) * 1_000
    const connection = free.pop()
    if (connection === undefined) waiting.push(dueMs)
    else send(connection, dueMs)
  }
  if (answered < total) setImmediate(turn)
}

function send(connection: Connection, dueMs: number): void {
  connection.dueMs = dueMs
  connection.socket.write(requests[asked++ % requests.length] as Buffer)
}

function receive(connection: Connection, bytes: Buffer): void {
  connection.received += bytes.toString('latin1')
  const head = connection.received.indexOf('\r\n\r\n')
  if (head < 0) return
  const length = Number(/content-length: (\d+)/i.exec(connection.received)?.[1])
  if (connection.received.length < head + 4 + length) return
  if (!connection.received.startsWith('HTTP/1.1 200')) fail(new Error(connection.received))
  connection.received = ''
  tookMs[answered++] = performance.now() - connection.dueMs
  const next = waiting.shift()
  if (next === undefined) free.push(connection)
  else send(connection, next)
  if (answered === total) done()
}

function fail(error: Error): void {
  if (answered === total) return
  process.stderr.write(`${error.message}\n`)
  process.exit(1)
}
