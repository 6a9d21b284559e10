// Sinks of the decision log: each record arrives at least once and in its order, though the sink is killed, slow, or refuses; in the words
// of its protocol.

import { readFileSync } from 'node:fs'
import { createServer as createHttp, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { type AddressInfo, createServer as createTcp, type Socket } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync } from 'node:zlib'
import { afterAll, describe, expect, test } from '@jest/globals'
import { listSegments } from '../src/audit/log-files.ts'
import { recordSchema } from '../src/audit/record-schema.ts'
import { parseVerifier } from '../src/audit/tree/note.ts'
import { verifyLog } from '../src/audit/verify-log.ts'
import { loadConfig } from '../src/config.ts'
import { createSink } from '../src/sinks/sinks.ts'
import { runCli, startCli } from './support/cli.ts'
import { metricsOf, readRecords, startTestService, type TestService } from './support/service.ts'
import { tempFolder } from './support/temp-folder.ts'
import { until } from './support/until.ts'

const policy = {
  'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\ndecision := {"allow": input.subject.id == "alice", "reasons": ["r"]}\n',
}
const ask = (service: TestService, id: string, more: object = {}) =>
  service.decide(
    { subject: { type: 'user', id: 'alice' }, action: { name: 'read' }, resource: { type: 'doc', id }, ...more },
    { traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-00` },
  )
const servers: Server[] = []
afterAll(() => {
  for (const server of servers) {
    server.closeAllConnections()
    server.close()
  }
})
const textOf = async (request: IncomingMessage) => {
  const parts: Buffer[] = []
  for await (const part of request) parts.push(part as Buffer)
  const body = Buffer.concat(parts)
  return (request.headers['content-encoding'] === 'gzip' ? gunzipSync(body) : body).toString()
}
type Got = { path: string; text: string; headers: IncomingMessage['headers'] }
async function serve(port = 0, reply: (got: Got, response: ServerResponse) => void = (_got, response) => void response.end()) {
  const got: Got[] = []
  const server = createHttp(async (request, response) => {
    const one = { path: request.url ?? '', text: await textOf(request), headers: request.headers }
    reply(one, response)
    if (response.statusCode < 300) got.push(one)
  })
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve))
  servers.push(server)
  return { got, server, port: (server.address() as AddressInfo).port }
}
const lines = ({ text }: Got) => text.split('\n').filter(Boolean)
const sinkOf = (type: string, url: string, more: object = {}) => ({
  'decisionLog.flushIntervalMs': 5,
  'decisionLog.sinks': [{ name: 'one', type, url, ...more }],
})

test('a server that is killed and restarted gets every record, in order, none out of the schema; also from a run before', async () => {
  const first = await serve()
  const url = `http://127.0.0.1:${first.port}/records`
  const files = tempFolder({ token: 'for-the-sink\n' })
  const service = await startTestService(policy, sinkOf('http', url, { tokenFile: `${files}/token` }))
  const arrived: string[] = []
  let server = first
  let asked = 0
  for (let round = 0; round < 10; round++) {
    for (let i = 0; i < 20; i++) await ask(service, `${asked++}`)
    if (round % 2 === 0) await until(10_000, () => server.got.length > 0)
    server.server.closeAllConnections()
    await new Promise((resolve) => server.server.close(resolve))
    arrived.push(...server.got.flatMap(lines))
    for (let i = 0; i < 20; i++) await ask(service, `${asked++}`)
    server = await serve(first.port)
  }
  await service.stop()
  const again = await startTestService(policy, { ...sinkOf('http', url, { tokenFile: `${files}/token` }), state: service.state })
  const records = () => [...arrived, ...server.got.flatMap(lines)].map((line) => JSON.parse(line))
  await until(10_000, () => new Set(records().map(({ id }) => id)).size === asked)
  await again.stop()
  expect(records().every((record) => recordSchema.strict().safeParse(record).success)).toBe(true)
  const order = [...new Map(records().map(({ id, seq }) => [id, seq])).values()]
  expect(order).toEqual(Array.from({ length: asked }, (_, i) => i + 1))
  expect(server.got[0]?.headers).toMatchObject({ authorization: 'Bearer for-the-sink', 'content-type': 'application/x-ndjson' })
  expect(records().length).toBeLessThan(asked * 2)
  // What has arrived is not told again after a restart of the service.
  const before = records().length
  const third = await startTestService(policy, { ...sinkOf('http', url, { tokenFile: `${files}/token` }), state: service.state })
  await ask(third, `${asked++}`)
  await until(10_000, () => records().length > before)
  await third.stop()
  expect(
    records()
      .slice(before)
      .map(({ seq }) => seq),
  ).toEqual([asked])
})

test('a record that is refused for good is put aside, and the others arrive; trouble of the server is none of the records', async () => {
  let trouble = 3
  const { got, port } = await serve(0, ({ text }, response) => {
    const status = trouble-- > 0 ? 503 : text.includes('"id":"bad"') ? 422 : 204
    response.writeHead(status).end('no')
  })
  const service = await startTestService(policy, sinkOf('http', `http://127.0.0.1:${port}/`))
  for (const id of ['1', '2', 'bad', '3', '4']) await ask(service, id)
  await until(10_000, () => got.flatMap(lines).length === 4)
  expect(got.flatMap(lines).map((line) => JSON.parse(line).resource.id)).toEqual(['1', '2', '3', '4'])
  const dead = join(service.state, 'decisions', 'sinks', 'one.dead.ndjson')
  expect(JSON.parse(readFileSync(dead, 'utf8')).resource.id).toBe('bad')
  const metrics = await metricsOf(service)
  expect(metrics).toMatch(/verdict_sink_delivered_total\{sink="one"\} 4\n/)
  expect(metrics).toMatch(/verdict_sink_dead_total\{sink="one"\} 1\n/)
  expect(metrics).toMatch(/verdict_sink_lag_bytes\{sink="one"\} 0\n/)
  expect(service.logged.some(({ sink, cause }) => sink === 'one' && `${cause}`.includes('422'))).toBe(true)
  await service.stop()
})

describe('checkpoints kept elsewhere', () => {
  test('arrive at a server and in a file, the newest first where one was down, and find a rewritten log', async () => {
    const kept = join(tempFolder(), 'checkpoints')
    let isDown = true
    const { got, port } = await serve(0, (_got, response) => void response.writeHead(isDown ? 503 : 200).end())
    const checkpointSinks = [
      { name: 'witness', url: `http://127.0.0.1:${port}/checkpoints`, intervalMs: 50 },
      { name: 'mount', file: kept, intervalMs: 50 },
    ]
    const options = { 'decisionLog.checkpointIntervalMs': 10, 'decisionLog.checkpointSinks': checkpointSinks }
    const service = await startTestService(policy, options)
    const folder = join(service.state, 'decisions')
    for (let i = 0; i < 10; i++) {
      await ask(service, `${i}`)
      await sleep(20)
    }
    expect(got).toEqual([])
    expect(service.logged.some(({ sink, cause }) => sink === 'witness' && `${cause}`.includes('503'))).toBe(true)
    const age = /verdict_checkpoint_sink_age_seconds\{sink="witness"\} ([\d.]+)\n/.exec(await metricsOf(service))?.[1]
    expect(Number(age)).toBeGreaterThan(0)
    // Also the newest has been refused by now, and none comes behind it.
    await sleep(1_500)
    isDown = false
    await until(10_000, () => got.length > 0)
    expect(got[0]).toMatchObject({ path: '/checkpoints', headers: { 'content-type': 'text/plain; charset=utf-8' } })
    await ask(service, 'last')
    await service.stop()
    const last = readFileSync(join(folder, 'tree/checkpoint'), 'utf8')
    expect(last).toContain('\n11\n')
    // The last of a run arrives, too.
    expect(got.at(-1)?.text).toBe(last)
    expect(readFileSync(kept, 'utf8').endsWith(last)).toBe(true)
    expect(readFileSync(kept, 'utf8').match(/^verdict\/0$/gm)?.length).toBeLessThan(12)
    const keys = readFileSync(join(folder, 'tree/log.vkey'), 'utf8').trim().split('\n').map(parseVerifier)
    const earlier = [...got.map(({ text }) => text), last].map((note) => ({ name: 'kept', note: Buffer.from(note) }))
    expect(verifyLog({ folder, keys, earlier }).faults).toEqual([])
  })

  test('a sink that hangs holds up neither answers nor the end of the service', async () => {
    const { port } = await serve(0, () => {})
    const checkpointSinks = [{ name: 'witness', url: `http://127.0.0.1:${port}/` }]
    const service = await startTestService(policy, {
      'decisionLog.checkpointIntervalMs': 10,
      'decisionLog.checkpointSinks': checkpointSinks,
    })
    expect((await ask(service, '1')).status).toBe(200)
    await sleep(50)
    const began = performance.now()
    await service.stop()
    expect(performance.now() - began).toBeLessThan(5_000)
  })
})

test('records that are too old are removed behind the sinks, a record says so, and what is left verifies', async () => {
  let isDown = true
  const { got, port } = await serve(0, (_got, response) => void response.writeHead(isDown ? 503 : 200).end())
  const service = await startTestService(policy, {
    ...sinkOf('http', `http://127.0.0.1:${port}/`),
    'decisionLog.maxFileAgeMs': 100,
    'decisionLog.retention': { maxAgeMs: 1_000 },
  })
  const folder = join(service.state, 'decisions')
  for (let i = 0; i < 5; i++) {
    await ask(service, `${i}`)
    await sleep(150)
  }
  await sleep(2_500)
  expect(listSegments(folder).length).toBeGreaterThanOrEqual(5)
  isDown = false
  await until(10_000, () => listSegments(folder).length <= 2)
  expect(new Set(got.flatMap(lines).map((line) => JSON.parse(line).resource?.id)).size).toBeGreaterThanOrEqual(5)
  await ask(service, 'later')
  const records = await service.stop()
  expect(records.find(({ kind }) => kind === 'retired')).toMatchObject({ entries: expect.any(Number), shard: '0' })
  const keys = readFileSync(join(folder, 'tree/log.vkey'), 'utf8').trim().split('\n').map(parseVerifier)
  expect(verifyLog({ folder, keys })).toMatchObject({ faults: [], retired: expect.any(Number) })
  expect((await runCli(['log', 'verify', folder])).stdout).toMatch(/the first \d+ are kept no longer/)
  expect((await runCli(['log', 'query', folder, '--resource', 'later'])).stdout).toContain('later')
  const again = await startTestService(policy, { state: service.state })
  expect((await ask(again, '1')).status).toBe(200)
  await again.stop()
})

test('a sink that hangs holds up neither an answer nor the end', async () => {
  let hanging = 0
  const { port } = await serve(0, () => void hanging++)
  const service = await startTestService(policy, sinkOf('http', `http://127.0.0.1:${port}/`))
  for (let i = 0; i < 50; i++) expect((await ask(service, `${i}`)).status).toBe(200)
  await until(10_000, () => hanging > 0)
  const began = performance.now()
  expect((await service.stop()).length).toBe(50)
  expect(performance.now() - began).toBeLessThan(3_000)
})

describe('in the words of a protocol', () => {
  test('OPA: an event for each decision', async () => {
    const { got, port } = await serve()
    const service = await startTestService(policy, { ...sinkOf('opa', `http://127.0.0.1:${port}/logs`), labels: { site: 'north' } })
    const { json } = await ask(service, '1', { context: { n: 1.0 } })
    await ask(service, '2', { policy: 'main:p/none' })
    await until(10_000, () => got.flatMap(({ text }) => JSON.parse(text)).length === 2)
    await service.stop()
    const [first, second] = got.flatMap(({ text }) => JSON.parse(text))
    expect(got[0]).toMatchObject({ path: '/logs', headers: { 'content-type': 'application/json', 'content-encoding': 'gzip' } })
    expect(first).toMatchObject({
      decision_id: json.id,
      labels: { id: '0', version: expect.any(String), site: 'north' },
      path: 'p/decision',
      bundles: { main: { revision: '' } },
      result: { decision: true, reasons: ['r'] },
      input: { resource: { id: '1' } },
      trace_id: 'a'.repeat(32),
      requested_by: '127.0.0.1',
      timestamp: expect.stringMatching(/^\d{4}-/),
    })
    expect(second).toMatchObject({ error: { code: 'ERR_UNKNOWN_ENTRYPOINT' }, result: { decision: false } })
  })

  test('OPA: nothing for lines that are no decision', async () => {
    const { got, port } = await serve()
    const { deliver } = createSink({ type: 'opa', url: `http://127.0.0.1:${port}/logs`, tokenFile: undefined, tls: undefined })
    const own = '{"kind":"retired","seq":1,"shard":"0","time":"2026-01-01T00:00:00.000Z"}'
    await deliver([own, own], AbortSignal.timeout(5_000))
    expect(got).toEqual([])
    const decision =
      '{"id":"a","time":"2026-01-01T00:00:00.000Z","caller":{},"masked":["/input/context"],"duration_us":1,"correlation_id":"c"}'
    await deliver([own, decision, own], AbortSignal.timeout(5_000))
    expect(got.map(({ text }) => JSON.parse(text))).toEqual([[expect.objectContaining({ decision_id: 'a', erased: ['/input/context'] })]])
  })

  test('OTLP: a log record for each line', async () => {
    const { got, port } = await serve()
    const service = await startTestService(policy, sinkOf('otlp', `http://127.0.0.1:${port}/`))
    const { json } = await ask(service, '1')
    await until(10_000, () => got.length > 0)
    const [record] = await service.stop()
    expect(got[0]?.path).toBe('/v1/logs')
    const [told] = JSON.parse(got[0]?.text ?? '').resourceLogs[0].scopeLogs[0].logRecords
    expect(JSON.parse(told.body.stringValue)).toEqual(record)
    expect(told).toMatchObject({ severityNumber: 9, traceId: 'a'.repeat(32), spanId: record?.span_id })
    expect(told.timeUnixNano).toBe(`${BigInt(Date.parse(record?.time as string)) * 1_000_000n}`)
    expect(told.attributes).toContainEqual({ key: 'verdict.decision.id', value: { stringValue: json.id } })
  })

  test('syslog: a message behind its length, over connections that come and go', async () => {
    let text = ''
    const sockets: Socket[] = []
    const server = createTcp((socket) => {
      sockets.push(socket)
      socket.on('data', (data) => (text += data)).on('error', () => {})
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const service = await startTestService(policy, sinkOf('syslog', `tcp://127.0.0.1:${(server.address() as AddressInfo).port}`))
    await ask(service, '1')
    await until(10_000, () => text.includes('"id":"1"'))
    for (const socket of sockets) socket.destroy()
    await sleep(100)
    await ask(service, '2')
    await until(10_000, () => text.includes('"resource":{"type":"doc","id":"2"}'))
    const records = await service.stop()
    server.close()
    const [, length, message] = /^(\d+) (<134>1 \S+ \S+ verdict \d+ decision - \ufeff\{.*?\}\n?)(?=\d+ <|$)/s.exec(text) ?? []
    expect(Buffer.byteLength(message ?? '')).toBe(Number(length))
    expect(JSON.parse((message ?? '').slice((message ?? '').indexOf('{')))).toEqual(records[0])
  })

  test('syslog: one that takes nothing is left, and connected to anew', async () => {
    const sockets: Socket[] = []
    const hanging = createTcp((socket) => void sockets.push(socket.pause())).listen(0, '127.0.0.1')
    await new Promise((resolve) => hanging.once('listening', resolve))
    const url = `tcp://127.0.0.1:${(hanging.address() as AddressInfo).port}`
    const sink = createSink({ type: 'syslog', url, tokenFile: undefined, tls: undefined })
    const line = JSON.stringify({ id: 'a', time: '2026-01-01T00:00:00.000Z', text: 'x'.repeat(32 * 2 ** 20) })
    for (let tries = 1; tries < 3; tries++) {
      await expect(sink.deliver([line], AbortSignal.timeout(300))).rejects.toThrow('takes too long')
      expect(sockets).toHaveLength(tries)
    }
    sink.close()
    for (const socket of sockets) socket.destroy()
    hanging.close()
  })

  test('stdout: the lines themselves', async () => {
    const state = tempFolder()
    const { child, out, ended } = startCli(['serve', '--port', '0', '--grpc-port', '0', '--bundle', tempFolder(policy), '--state', state], {
      VERDICT_DECISION_LOG_SINKS: '[{name: out, type: stdout}]',
    })
    await until(10_000, () => /answers at (http:\S+)/.test(out.stdout))
    const url = /answers at (http:\S+)/.exec(out.stdout)?.[1] ?? ''
    const body = JSON.stringify({ subject: { type: 'user', id: 'alice' }, action: { name: 'read' }, resource: { type: 'doc', id: '1' } })
    await fetch(`${url}/v1/decide`, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    await until(10_000, () => out.stdout.includes('{"id":'))
    child.kill('SIGTERM')
    await ended
    expect(
      out.stdout
        .split('\n')
        .filter((line) => line.startsWith('{"id":'))
        .map((line) => JSON.parse(line)),
    ).toEqual(readRecords(join(state, 'decisions')))
  })
})

test.each([
  ['no address', { name: 'a', type: 'http' }],
  ['an address for stdout', { name: 'a', type: 'stdout', url: 'http://x' }],
  ['http for a syslog', { name: 'a', type: 'syslog', url: 'http://x' }],
  ['tcp for a server', { name: 'a', type: 'opa', url: 'tcp://x:1' }],
  ['a name that is a path', { name: '../a', type: 'stdout' }],
])('what is no sink is refused: %s', (_what, sink) =>
  expect(() => loadConfig({ env: {}, overrides: { 'decisionLog.sinks': [sink] } })).toThrow('the configuration has 1 fault'),
)
