// http.send and net.lookup_ip_addr in a whole service, against a real HTTP server.
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { question, startTestService, type TestService } from '../support/service.ts'

let upstream: Server
let port: number
const seen: string[] = []
beforeAll(async () => {
  upstream = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`)
    if (request.url === '/redirect') response.writeHead(302, { location: 'http://localhost:1/x' }).end()
    else if (request.url === '/slow') setTimeout(() => response.end('{}'), 10_000).unref()
    else if (request.url === '/large') response.end('x'.repeat(100_000))
    else {
      const chunks: Buffer[] = []
      request.on('data', (chunk: Buffer) => chunks.push(chunk))
      request.on('end', () => {
        response.writeHead(200, { 'content-type': 'application/json', 'x-kind': 'test' })
        response.end(JSON.stringify({ allow: true, got: Buffer.concat(chunks).toString(), header: request.headers['x-from'] ?? null }))
      })
    }
  })
  await new Promise<void>((resolve) => upstream.listen(0, '127.0.0.1', resolve))
  port = (upstream.address() as AddressInfo).port
})
afterAll(() => {
  upstream.closeAllConnections()
  upstream.close()
})

const policy = {
  'p.rego': `package p

# METADATA
# entrypoint: true
ask := {"allow": true, "context": {"response": http.send(input.context.request)}}

# METADATA
# entrypoint: true
name := {"allow": true, "context": {"addresses": net.lookup_ip_addr(input.context.name)}}

# METADATA
# entrypoint: true
local if input.subject.id == "alice"
`,
}

let service: TestService
beforeAll(async () => {
  service = await startTestService(policy, {
    'evaluation.network.allow': [`127.0.0.1:${port}`, 'localhost'],
    'evaluation.network.timeoutMs': 500,
    'evaluation.network.maxResponseBytes': 50_000,
  })
})

const send = async (request: object) => {
  const answer = await service.decide({ ...question, policy: 'main:p/ask', context: { request: { raise_error: false, ...request } } })
  expect(answer.status).toBe(200)
  return answer.json.context.response
}
const url = (path: string) => `http://127.0.0.1:${port}${path}`

describe('http.send', () => {
  test('asks, with method, headers and body, and gives what came', async () => {
    expect(await send({ method: 'post', url: url('/'), headers: { 'X-From': 'policy' }, body: { n: 1.5 } })).toMatchObject({
      status_code: 200,
      status: '200 OK',
      headers: { 'x-kind': ['test'] },
      body: { allow: true, got: '{"n":1.5}', header: 'policy' },
    })
  })

  test('answers from its cache where the policy says so', async () => {
    const cached = { method: 'get', url: url('/cached'), force_cache: true, force_cache_duration_seconds: 60 }
    for (let i = 0; i < 6; i++) expect(await send(cached)).toMatchObject({ status_code: 200 })
    // Each evaluating thread has a cache of its own.
    expect(seen.filter((line) => line === 'GET /cached').length).toBeLessThanOrEqual(2)
  })

  test.each<[string, () => object, string]>([
    ['a host that is not listed', () => ({ url: 'http://example.com/' }), 'disallowed host'],
    ['another port of a listed address', () => ({ url: 'http://127.0.0.1:1/' }), 'disallowed host'],
    ['a listed name that leads to this machine', () => ({ url: 'http://localhost:1/' }), 'disallowed address'],
    ['a redirect to where it may not go', () => ({ url: url('/redirect'), enable_redirect: true }), 'disallowed address'],
    ['an answer that does not come', () => ({ url: url('/slow') }), 'timed out'],
    ['an answer that is too large', () => ({ url: url('/large') }), 'larger than'],
    ['a file of the machine', () => ({ url: url('/'), tls_ca_cert_file: '/etc/passwd' }), ''],
    ['a variable of the machine', () => ({ url: url('/'), tls_client_cert_env_variable: 'HOME' }), ''],
    ['a socket of the machine', () => ({ url: 'unix://localhost/x?socket=%2Ftmp%2Fx.sock' }), ''],
  ])('refuses %s', async (_what, request, message) => {
    const response = await send({ method: 'get', ...request() })
    if (message === '') expect(response).toBeUndefined()
    else expect(response).toMatchObject({ status_code: 0, error: { message: expect.stringContaining(message) } })
  })

  test('others are answered while one waits', async () => {
    const waiting = send({ method: 'get', url: url('/slow') })
    const began = performance.now()
    for (let i = 0; i < 20; i++) {
      expect((await service.decide({ ...question, policy: 'main:p/local' })).json.decision).toBe(true)
    }
    expect(performance.now() - began).toBeLessThan(450)
    expect(await waiting).toMatchObject({ status_code: 0 })
  })
})

describe('net.lookup_ip_addr', () => {
  const ask = async (name: string) => (await service.decide({ ...question, policy: 'main:p/name', context: { name } })).json.context
  test('a listed name', async () => {
    expect((await ask('localhost')).addresses).toContain('127.0.0.1')
  })
  test('a name that is not listed is undefined, and so denies', async () => {
    expect((await ask('example.com')).reasons).toEqual(['undefined_decision'])
  })
})

test('every answer has its record, with the steps that it took', async () => {
  const records = await service.stop()
  // What the world said is in it, what it was asked for is not: that may be a secret.
  const notes = records.filter(({ nd }) => nd !== undefined).map(({ nd }) => nd)
  expect(notes.some((nd) => Object.keys(nd as object).includes('http.send'))).toBe(true)
  expect(notes.some((nd) => Object.keys(nd as object).includes('net.lookup_ip_addr'))).toBe(true)
  expect(JSON.stringify(notes)).not.toContain('raise_error')
  const asked = records.filter((record) => (record['policy'] as { entrypoint: string }).entrypoint === 'p/ask')
  expect(asked.length).toBeGreaterThan(10)
  for (const record of asked) expect(record['steps']).toBeGreaterThan(0)
})

test('without a configured network every request fails', async () => {
  const closed = await startTestService(policy)
  const request = { method: 'get', url: url('/'), raise_error: false }
  const answer = await closed.decide({ ...question, policy: 'main:p/ask', context: { request } })
  expect(answer.json.context.response).toMatchObject({ status_code: 0, error: { message: expect.stringContaining('no network') } })
  await closed.stop()
})
