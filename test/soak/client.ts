// A soak: client.ts CALLS. The thin client asks a service that answers, fails, hangs, breaks off and goes away in turns; every call has
// one answer, an allow only where the service said so, no rejection is left alone, and the memory in use comes back to what it was.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createClient, type Question } from '../../src/client/index.ts'

const calls = Number(process.argv[2] ?? 1_000_000)
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void
let unhandled = 0
process.on('unhandledRejection', () => void unhandled++)

/** What the server does with the next request; most are answered. */
const moods = ['good', 'good', 'good', 'good', 'good', 'good', 'busy', 'broken', 'half', 'hanging', 'wrong'] as const
let requests = 0
function start(port: number): Promise<Server> {
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const part of request) text += part
    const body = JSON.parse(text) as { evaluations?: { subject: { id: string } }[]; subject: { id: string } }
    const answerOf = ({ subject }: { subject: { id: string } }) => ({
      decision: subject.id === 'yes',
      id: 'x',
      context: {},
      cache: { max_age_ms: 0 },
    })
    const answer = JSON.stringify(body.evaluations === undefined ? answerOf(body) : { evaluations: body.evaluations.map(answerOf) })
    const mood = moods[requests++ % moods.length]
    if (mood === 'busy') response.writeHead(503).end()
    else if (mood === 'broken') response.destroy()
    else if (mood === 'half') response.write(answer.slice(0, answer.length / 2), () => response.destroy())
    else if (mood === 'wrong') response.end('{"evaluations":[{"decision":true}]}')
    else if (mood === 'good') response.end(answer)
  }).listen(port, '127.0.0.1')
  return new Promise((resolve) => server.once('listening', () => resolve(server)))
}
let server = await start(0)
const { port } = server.address() as AddressInfo
const client = createClient({
  urls: [`http://127.0.0.1:${port}`],
  timeoutMs: 60,
  attemptMs: 25,
  maxRequests: 8,
  breaker: { failures: 50, openMs: 20 },
})
const ask = (id: string): Question => ({ subject: { type: 'u', id }, action: { name: 'a' }, resource: { type: 'r', id: '1' } })

const counts = { allowed: 0, denied: 0, failed: 0, wrong: 0 }
const size = 500
const heap: number[] = []
const began = performance.now()
for (let done = 0; done < calls; done += size) {
  const abort = new AbortController()
  const asked = Array.from({ length: size }, (_, i) => {
    const id = i % 3 === 0 ? 'yes' : 'no'
    const options = i % 50 === 0 ? { signal: abort.signal } : i % 70 === 0 ? { correlationId: `c${done}` } : {}
    return client.decide(ask(id), options).then(({ decision, context }) => {
      if (decision && id !== 'yes') counts.wrong++
      else if (decision) counts.allowed++
      else if (context.error === undefined) counts.denied++
      else counts.failed++
    })
  })
  if (done % 5_000 === 0) abort.abort()
  await Promise.all(asked)
  if (done % 100_000 === 0) {
    collect()
    heap.push(process.memoryUsage().heapUsed)
  }
  if (done % 250_000 === 0 && done > 0) {
    server.closeAllConnections()
    await new Promise((resolve) => server.close(resolve))
    counts.failed += Number((await client.decide(ask('yes'))).context.error !== undefined)
    server = await start(port)
  }
}
await client.close()
server.closeAllConnections()
server.close()
collect()
await new Promise((resolve) => setTimeout(resolve, 100))
const [first = 0, last = 0] = [heap[Math.min(1, heap.length - 1)], heap.at(-1)]
const grown = (last - first) / 2 ** 20
process.stdout.write(
  `${calls} calls in ${requests} requests, ${Math.round((performance.now() - began) / 1_000)} s: ${counts.allowed} allowed, ${counts.denied} denied, ${counts.failed} without an answer, ${counts.wrong} wrong, ${unhandled} rejections left alone; the heap grew by ${grown.toFixed(1)} MiB\n`,
)
process.exit(counts.wrong === 0 && unhandled === 0 && grown < 5 && counts.allowed > 0 && counts.failed > 0 ? 0 : 1)
