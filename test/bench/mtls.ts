// What certificates on both sides cost: processor time of the service for a request on a connection that stands, and for a handshake
// with its first request; and handshakes a second, on one core.
//   npm run bench:mtls            measures and rewrites its part of docs/benchmarks.md
//   npm run bench:mtls -- --quick one short round, prints only
// Needs Linux and taskset. The service runs on core 0, the load on core 1; the load is Node's own client, which is slower than the
// service, so the rates of requests are not the service's, and its processor time is.
import { mkdtempSync, writeFileSync } from 'node:fs'
import { Agent as HttpAgent, request as httpRequest } from 'node:http'
import { Agent, request } from 'node:https'
import { cpus, tmpdir } from 'node:os'
import { join } from 'node:path'
import { TestAuthority } from '../support/certificates.ts'
import { abacQuestion } from './abac.ts'
import { type Measured, processorTime } from './processor-time.ts'
import { median, startVerdict, writeReport } from './servers.ts'

const quick = process.argv.includes('--quick')
const rounds = quick ? 1 : 5
const seconds = quick ? 1 : 6
const connections = 16
const measure = (pid: number, ask: (i: number) => Promise<void>) => processorTime(pid, ask, { connections, seconds })

const folder = mkdtempSync(join(tmpdir(), 'verdict-mtls-'))
const authority = await TestAuthority.create('bench', ['spiffe://bench.example'])
const server = await authority.issue('pdp', { ips: ['127.0.0.1'], dns: ['localhost'] })
const client = await authority.issue('gateway', { uris: ['spiffe://bench.example/gateway'] })
const files = { 'ca.pem': authority.cert, 'cert.pem': server.cert, 'key.pem': server.key }
for (const [name, text] of Object.entries(files)) writeFileSync(join(folder, name), text)
writeFileSync(
  join(folder, 'verdict.yaml'),
  JSON.stringify({
    server: { tls: { certFile: join(folder, 'cert.pem'), keyFile: join(folder, 'key.pem') } },
    authentication: {
      trustDomains: [{ name: 'bench.example', bundleFile: join(folder, 'ca.pem') }],
      callers: [{ spiffeId: 'spiffe://bench.example/gateway', roles: ['decide'] }],
    },
  }),
)
const plain = await startVerdict()
const secure = await startVerdict(['--config', join(folder, 'verdict.yaml')])
const bodies = Array.from({ length: 64 }, (_, i) => JSON.stringify(abacQuestion(i)))
const credentials = { ca: authority.cert, cert: client.cert, key: client.key, servername: 'localhost' }

function send(start: typeof request | typeof httpRequest, options: object, i: number): Promise<void> {
  const body = bodies[i % bodies.length] as string
  const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }
  return new Promise((resolve, reject) => {
    const sent = start({ host: '127.0.0.1', path: '/v1/decide', method: 'POST', headers, ...options }, (response) => {
      if (response.statusCode !== 200) reject(new Error(`status ${response.statusCode}`))
      response.resume().on('end', resolve).on('error', reject)
    })
    sent.on('error', reject).end(body)
  })
}

const plainAgent = new HttpAgent({ keepAlive: true, maxSockets: connections })
const secureAgent = new Agent({ keepAlive: true, maxSockets: connections, maxCachedSessions: 0, ...credentials })
const ways = {
  plain: () => measure(plain.pid, (i) => send(httpRequest, { port: plain.http, agent: plainAgent }, i)),
  kept: () => measure(secure.pid, (i) => send(request, { port: secure.http, agent: secureAgent }, i)),
  fresh: () => measure(secure.pid, (i) => send(request, { port: secure.http, agent: false, ...credentials }, i)),
}
const measured: Record<keyof typeof ways, Measured[]> = { plain: [], kept: [], fresh: [] }
for (const name of ['plain', 'kept', 'fresh'] as const) await ways[name]()
for (let i = 0; i < rounds; i++) for (const name of ['plain', 'kept', 'fresh'] as const) measured[name].push(await ways[name]())

const cpu = (name: keyof typeof ways) => Math.round(median(measured[name].map(({ cpuUs }) => cpuUs)))
const rate = (name: keyof typeof ways) => Math.round(median(measured[name].map(({ perSecond }) => perSecond))).toLocaleString('en')
const report = `| connection | processor time of the service for a request |
|---|---|
| clear text, kept | ${cpu('plain')} µs |
| certificates on both sides, kept | ${cpu('kept')} µs |
| certificates on both sides, a new one for each request | ${cpu('fresh')} µs |

**${rate('fresh')}** handshakes a second, each with the verification of the client's certificate and a decision; TLS 1.3, P-256 on both sides, no
resumption. Median of ${rounds} rounds of ${seconds} s.
Machine: ${cpus()[0]?.model.replace(/ Processor.*/, '')}, Node.js ${process.versions.node}; service on core 0, Node's client on core 1.`
process.stdout.write(`${report}\n`)
if (!quick) writeReport('bench:mtls', report)
process.exit(0)
