// What is measured: counted as it was answered, bounded in what it tells apart, given to those who may, as Prometheus and OTLP want it.

import { generateKeyPairSync } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createServer, type IncomingHttpHeaders } from 'node:http'
import { connect } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterAll, describe, expect, test } from '@jest/globals'
import { expose, expositionFor, prometheusName } from '../../src/telemetry/exposition.ts'
import { boundsOf, instruments, Metrics, record } from '../../src/telemetry/metrics.ts'
import { routeOf } from '../../src/transport/http/metrics-route.ts'
import { call, grpcClient } from '../support/grpc.ts'
import { metricsOf, question, startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const policy = { 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow if input.subject.id == "alice"\n' }
const scrape = async ({ url, state }: TestService, token = readFileSync(`${state}/admin.token`, 'utf8').trim()) => {
  const answer = await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${token}` } })
  return { status: answer.status, type: answer.headers.get('content-type'), text: await answer.text() }
}

describe('cells', () => {
  test('beyond a number of combinations all are counted under one', async () => {
    const metrics = new Metrics()
    for (let i = 0; i < 2_000; i++) metrics.cell('verdict.errors', `E${i}`).value++
    const cells = metrics.collect().get('verdict.errors') ?? []
    expect(cells.length).toBe(501)
    expect(cells.find(({ attributes }) => attributes.code === 'other')?.value).toBe(1_500)
    expect(metrics.cell('verdict.errors', 'E3').value).toBe(1)
  })

  test('a histogram has each value in one bucket', () => {
    const bounds = boundsOf('verdict.decision.steps')
    const cell = new Metrics().cell('verdict.decision.steps', 'p')
    for (const value of [0, 10, 11, 1_000_000_000]) record(cell, bounds, value)
    expect([cell.count, cell.value, cell.buckets?.[0], cell.buckets?.[1], cell.buckets?.at(-1)]).toEqual([4, 1_000_000_021, 2, 1, 1])
  })

  test('a histogram is told as how many are at most so large', () => {
    const metrics = new Metrics()
    const bounds = boundsOf('verdict.decision.steps')
    const cell = metrics.cell('verdict.decision.steps', 'p')
    for (const value of [bounds[0], bounds[1], bounds[1], Number.MAX_SAFE_INTEGER] as number[]) record(cell, bounds, value)
    const told = [...expose(metrics, {}, 'text').matchAll(/^verdict_decision_steps_(?:bucket\{policy="p",le="(.*)"\}|(count)\S*) (\d+)$/gm)]
    const [first, second, ...others] = told.map(([, bound, name, count]) => [bound ?? name, Number(count)])
    expect([first, second]).toEqual([
      [`${bounds[0]}.0`, 1],
      [`${bounds[1]}.0`, 3],
    ])
    expect(others.slice(0, -2).every(([, count]) => count === 3)).toBe(true)
    expect(others.slice(-2)).toEqual([
      ['+Inf', 4],
      ['count', 4],
    ])
  })

  test('what comes from outside is escaped', () => {
    const metrics = new Metrics()
    metrics.cell('verdict.errors', 'a"b\n\\c').value++
    expect(expose(metrics, {}, 'text')).toContain('verdict_errors_total{code="a\\"b\\n\\\\c"} 1')
  })
})

test('routes are told apart by names out of few', () => {
  expect(['/v1/decide', '/v1/data/a/b?x', '/v1/bundles/main/archive', '/v1/decided', '/x', undefined].map(routeOf)).toEqual([
    '/v1/decide',
    '/v1/data',
    '/v1/bundles',
    'other',
    'other',
    'other',
  ])
})

test('every route has a name', () => {
  const paths = Object.keys(
    (JSON.parse(readFileSync(new URL('../../schemas/openapi.json', import.meta.url), 'utf8')) as { paths: object }).paths,
  )
  expect(paths.filter((path) => path !== '/' && routeOf(path) === 'other')).toEqual([])
})

test('a service tells what it answered, to those who may ask', async () => {
  const files = tempFolder({ ops: 'the-secret-token-of-the-operator' })
  const service = await startTestService(policy, {
    'authentication.callers': [{ id: 'ops', tokenFile: `${files}/ops`, roles: ['operate', 'decide'] }],
  })
  const authorization = { authorization: 'Bearer the-secret-token-of-the-operator' }
  for (const id of ['alice', 'alice', 'bob']) await service.decide({ ...question, subject: { type: 'user', id } }, authorization)
  await service.decide({ ...question, policy: 'main:p/none' }, authorization)
  expect((await scrape(service, 'the-secret-token-of-the-operator')).status).toBe(403)
  expect((await fetch(`${service.url}/metrics`)).status).toBe(401)
  const { status, type, text } = await scrape(service)
  expect([status, type]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8'])
  for (const line of [
    'verdict_decisions_total{outcome="allow",policy="main:p/allow",cached="false"} 1',
    'verdict_decisions_total{outcome="allow",policy="main:p/allow",cached="true"} 1',
    'verdict_decisions_total{outcome="deny",policy="main:p/allow",cached="false"} 1',
    'verdict_errors_total{code="ERR_UNKNOWN_ENTRYPOINT"} 1',
    'verdict_decision_duration_seconds_count{policy="main:p/allow"} 3',
    'http_server_request_duration_seconds_count{http_route="/v1/decide",http_response_status_code="200"} 3',
    'verdict_bundle_epoch{bundle="main"} 1',
    'verdict_log_available 1',
    'verdict_log_lost_bytes_total 0',
    'verdict_cache_lookups_total{outcome="hits"} 1',
  ])
    expect(text).toContain(`${line}\n`)
  // Nothing is told that no table explains.
  const names = new Set(Object.keys(instruments).map((name) => prometheusName(name as keyof typeof instruments)))
  const told = [...text.matchAll(/^# TYPE (\S+)/gm)].map(([, name]) => name as string)
  expect(told.filter((name) => !names.has(name) && name !== 'target_info')).toEqual([])
})

describe('OpenMetrics', () => {
  test.each([
    [undefined, 'text'],
    ['*/*', 'text'],
    ['text/plain', 'text'],
    ['application/openmetrics-text', 'openmetrics'],
    [
      'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1',
      'openmetrics',
    ],
    ['application/openmetrics-text;q=0, text/plain', 'text'],
    ['application/openmetrics-text;q=0.0', 'text'],
    ['application/openmetrics-text;q=0.5', 'openmetrics'],
  ])('is given where it is accepted: %s', (accept, format) => expect(expositionFor(accept)).toBe(format))

  test('tells of each bucket a decision whose trace is kept, and of those that are not sampled none', async () => {
    const service = await startTestService(policy)
    const began = Date.now() / 1_000
    const traceparent = (trace: string, flags: string) => ({ traceparent: `00-${trace.repeat(32)}-${'b'.repeat(16)}-${flags}` })
    await service.decide(question, traceparent('a', '01'))
    await service.decide({ ...question, subject: { type: 'user', id: 'bob' } }, traceparent('c', '00'))
    const authorization = `Bearer ${readFileSync(`${service.state}/admin.token`, 'utf8').trim()}`
    const answer = await fetch(`${service.url}/metrics`, {
      headers: { authorization, accept: 'application/openmetrics-text;version=1.0.0' },
    })
    expect([answer.headers.get('content-type'), answer.headers.get('vary')]).toEqual([
      'application/openmetrics-text; version=1.0.0; charset=utf-8',
      'accept',
    ])
    const text = await answer.text()
    // The other format has no place for them.
    expect(await metricsOf(service)).not.toContain(' # {')
    const records = await service.stop()
    const pattern = /^verdict_decision_duration_seconds_bucket\{policy="main:p\/allow",le="[^"]+"\} \d+ # \{(.*)\} ([\d.e-]+) ([\d.]+)$/gm
    const exemplars = [...text.matchAll(pattern)]
    expect(exemplars).toHaveLength(1)
    const [, labels, value, at] = exemplars[0] as unknown as [string, string, string, string]
    expect(labels).toBe(`trace_id="${'a'.repeat(32)}",span_id="${records[0]?.span_id}"`)
    expect(Number(value)).toBeGreaterThan(0)
    expect(Number(at)).toBeGreaterThanOrEqual(began)
    expect(text).not.toContain('c'.repeat(32))
    expect(text).toMatch(/^# TYPE verdict_decisions counter\n(?:.*\n)*?verdict_decisions_total\{/m)
    expect(text).toContain('# UNIT verdict_decision_duration_seconds seconds\n')
    expect(text).toContain('# TYPE target info\ntarget_info{service_name="verdict"')
    expect(text.endsWith('\n# EOF\n')).toBe(true)
  })
})

test('gRPC calls are told by method and status, whatever somebody calls', async () => {
  const files = tempFolder({ gateway: 'the-secret-token-of-the-gateway' })
  const callers = [{ id: 'gateway', tokenFile: `${files}/gateway`, roles: ['decide'] }]
  const service = await startTestService(policy, { 'authentication.callers': callers })
  const decisions = grpcClient(service.grpcAddress, 'verdict.v1.DecisionService')
  const known = { authorization: 'Bearer the-secret-token-of-the-gateway' }
  await call(decisions, 'Decide', question, known)
  await call(decisions, 'Decide', question, known)
  await call(decisions, 'Decide', { ...question, subject: undefined }, known)
  // One that grpc-js answers itself.
  const compressed = grpcClient(service.grpcAddress, 'verdict.v1.DecisionService', undefined, { 'grpc.default_compression_algorithm': 2 })
  await call(compressed, 'Decide', question, known)
  const session = connect(`http://${service.grpcAddress}`)
  const path = '/grpc.reflection.v1.ServerReflection/any'
  const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc' })
  await new Promise((resolve) => stream.on('close', resolve).resume().end())
  session.close()
  const text = await metricsOf(service)
  await service.stop()
  const count = (method: string, status: string) =>
    `rpc_server_call_duration_seconds_count{rpc_method="${method}",rpc_response_status_code="${status}"}`
  expect(text).toContain(`${count('verdict.v1.DecisionService/Decide', 'OK')} 3\n`)
  expect(text).toContain(`${count('verdict.v1.DecisionService/Decide', 'INVALID_ARGUMENT')} 1\n`)
  expect(text).toContain(`${count('other', 'UNAUTHENTICATED')} 1\n`)
  expect(text).not.toContain('ServerReflection')
})

test('requests for the keys of an issuer are told by what became of them', async () => {
  const { publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
  let body = JSON.stringify({ keys: [{ ...publicKey.export({ format: 'jwk' }), kid: 'k', use: 'sig' }] })
  const server = createServer((_request, response) => void response.setHeader('content-type', 'application/json').end(body))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const jwksUrl = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  const settings = {
    'authentication.audiences': ['pdp'],
    'authentication.issuers': [{ issuer: 'https://idp.example', jwksUrl }],
    'authentication.callers': [{ issuer: 'https://idp.example', scope: 'decide', roles: ['decide'] }],
  }
  const good = await metricsOf(await startTestService(policy, settings))
  body = '{}'
  const bad = await metricsOf(await startTestService(policy, settings))
  server.close()
  const line = (outcome: string) => `verdict_issuer_request_duration_seconds_count{request="jwks",outcome="${outcome}"} 1\n`
  expect([good.includes(line('ok')), good.includes(line('failed'))]).toEqual([true, false])
  expect([bad.includes(line('ok')), bad.includes(line('failed'))]).toEqual([false, true])
})

describe('a collector', () => {
  const got: { path: string; body: Buffer; headers: IncomingHttpHeaders }[] = []
  const collector = createServer(async (request, response) => {
    const parts: Buffer[] = []
    for await (const part of request) parts.push(part as Buffer)
    got.push({ path: request.url ?? '', body: Buffer.concat(parts), headers: request.headers })
    response.end()
  }).listen(0, '127.0.0.1')
  afterAll(() => void collector.close())

  test('gets metrics, and spans of sampled decisions alone', async () => {
    const files = tempFolder({ header: 'Bearer for-the-collector\n' })
    const service = await startTestService(policy, {
      'telemetry.otlpUrl': `http://127.0.0.1:${(collector.address() as AddressInfo).port}/`,
      'telemetry.otlpHeaderFile': `${files}/header`,
    })
    const traceparent = (trace: string, flags: string) => ({ traceparent: `00-${trace.repeat(32)}-${'b'.repeat(16)}-${flags}` })
    const { json } = await service.decide(question, traceparent('a', '01'))
    await service.decide(question, traceparent('c', '00'))
    await service.stop()
    const of = (path: string) => got.filter((one) => one.path === path)
    expect(of('/v1/metrics').some(({ body }) => body.includes('verdict.decisions') && body.includes('main:p/allow'))).toBe(true)
    const spans = of('/v1/traces')
    expect(spans).toHaveLength(1)
    const [{ body, headers }] = spans as [(typeof spans)[0]]
    expect(headers.authorization).toBe('Bearer for-the-collector')
    expect(body.includes(Buffer.from('a'.repeat(32), 'hex'))).toBe(true)
    expect(body.includes(json.id)).toBe(true)
    expect(body.includes(Buffer.from('c'.repeat(32), 'hex'))).toBe(false)
  })
})
