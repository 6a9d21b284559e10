// Hostile HTTP against /v1/decide, and bodies against the other doors: what is wrong, and the code that each case must get.
import { gzipSync } from 'node:zlib'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { rawDecide, rawRequest } from '../support/raw-http.ts'
import { question, startTestService, type TestService } from '../support/service.ts'

const policy = {
  'p.rego': `package p

# METADATA
# entrypoint: true
allow := {"decision": ok, "context": {"trusted": input.trusted, "header": object.get(input, "header", "none")}}

default ok := false

ok if input.subject.id == "alice"
`,
}
const body = JSON.stringify(question)
let service: TestService

beforeAll(async () => {
  service = await startTestService(policy, { 'server.maxBodyBytes': 100_000 })
})

const post = (headers: readonly string[], content: string | Buffer = body, length = Buffer.byteLength(content), path = '/v1/decide') =>
  rawDecide([`POST ${path} HTTP/1.1`, 'Host: localhost', `Content-Length: ${length}`, ...headers], content)
const json = 'Content-Type: application/json'

describe('bodies and their types', () => {
  test.each<[string, number, string, readonly string[], string | Buffer]>([
    ['A1 garbage behind the type', 415, 'ERR_UNSUPPORTED_MEDIA_TYPE', ['Content-Type: application/json garbage'], body],
    ['A2 a semicolon and nothing', 415, 'ERR_UNSUPPORTED_MEDIA_TYPE', ['Content-Type: Application/JSON ;'], body],
    ['A2 two types', 415, 'ERR_UNSUPPORTED_MEDIA_TYPE', [json, 'Content-Type: text/plain'], body],
    ['A3 a malformed parameter', 415, 'ERR_UNSUPPORTED_MEDIA_TYPE', ['Content-Type: application/json;;charset=='], body],
    ['A3 another charset', 415, 'ERR_UNSUPPORTED_MEDIA_TYPE', ['Content-Type: application/json; charset=utf-16'], body],
    ['another type', 415, 'ERR_UNSUPPORTED_MEDIA_TYPE', ['Content-Type: text/plain'], body],
    ['no type', 415, 'ERR_UNSUPPORTED_MEDIA_TYPE', [], body],
    ['A4 a body that is too large', 413, 'ERR_BODY_TOO_LARGE', [json], `{"a":"${'x'.repeat(100_000)}"}`],
    ['A5 a bomb', 413, 'ERR_DECOMPRESSED_TOO_LARGE', [json, 'Content-Encoding: gzip'], gzipSync(Buffer.alloc(10_000_000, 0x20))],
    ['A5 an unknown encoding', 415, 'ERR_UNSUPPORTED_ENCODING', [json, 'Content-Encoding: br'], body],
    ['A5 stacked encodings', 415, 'ERR_UNSUPPORTED_ENCODING', [json, 'Content-Encoding: gzip, gzip'], body],
    ['gzip that is none', 400, 'ERR_INVALID_REQUEST', [json, 'Content-Encoding: gzip'], body],
    ['no body', 400, 'ERR_INVALID_REQUEST', [json], ''],
  ])('%s: %d %s', async (_what, status, code, headers, content) => {
    const answer = await rawRequest(service.url, post(headers, content))
    expect([answer.status, JSON.parse(answer.body).error.code]).toEqual([status, code])
    // AuthZEN calls whatever is wrong with a request 400; OPA takes any type, and no body at all.
    for (const path of ['/access/v1/evaluation', '/access/v1/search/action']) {
      const authzen = await rawRequest(service.url, post(headers, content, Buffer.byteLength(content), path))
      expect([path, authzen.status, JSON.parse(authzen.body).error.code]).toEqual([path, status === 415 ? 400 : status, code])
    }
    const opa = await rawRequest(service.url, post(headers, content, Buffer.byteLength(content), '/v1/data/p/allow'))
    const isFine = (code === 'ERR_UNSUPPORTED_MEDIA_TYPE' && headers.length < 2 && !headers[0]?.endsWith('garbage')) || content.length === 0
    expect(opa.status).toBe(isFine ? 200 : status)
    // No failure of a body lets a request pass a gateway's door: what reaches the policy is denied by it.
    const gateway = await rawRequest(service.url, post(headers, content, Buffer.byteLength(content), '/v1/auth/envoy/x'))
    expect(gateway.status).toBe(403)
  })

  test('A2 a tab and another case are the same type', async () => {
    const answer = await rawRequest(service.url, post(['Content-Type: Application/JSON\t; charset=UTF-8']))
    expect(answer.status).toBe(200)
  })

  test('A4 a chunked body is stopped at the limit', async () => {
    const chunk = `8000\r\n${'x'.repeat(0x8000)}\r\n`
    const bytes = rawDecide(['POST /v1/decide HTTP/1.1', 'Host: localhost', json, 'Transfer-Encoding: chunked'], chunk.repeat(5))
    const answer = await rawRequest(service.url, bytes)
    expect([answer.status, JSON.parse(answer.body).error.code]).toEqual([413, 'ERR_BODY_TOO_LARGE'])
  })

  test('A4 a Content-Length that lies is refused before the body comes', async () => {
    const answer = await rawRequest(service.url, post([json], body, 10_000_000_000))
    expect(answer.status).toBe(413)
  })

  test('a gzip body is read', async () => {
    expect((await rawRequest(service.url, post([json, 'Content-Encoding: gzip'], gzipSync(body)))).status).toBe(200)
  })
})

describe('A6 framing', () => {
  test.each([
    ['Content-Length and Transfer-Encoding', ['Content-Length: 5', 'Transfer-Encoding: chunked']],
    ['two encodings', ['Transfer-Encoding: chunked, identity']],
    ['two lengths', ['Content-Length: 5', 'Content-Length: 6']],
    ['a line folded', ['X-A: b\r\n c']],
    ['NUL in a field', ['X-A: b\0c']],
    ['a space before the colon', ['X-A : b']],
    ['a length that is no number', ['Content-Length: +5']],
  ])('%s: 400 and the connection ends', async (_what, headers) => {
    const answer = await rawRequest(service.url, rawDecide(['POST /v1/decide HTTP/1.1', 'Host: localhost', json, ...headers], '0\r\n\r\n'))
    expect(answer.status).toBe(400)
    expect(answer.headers.toLowerCase()).toContain('connection: close')
  })

  test('bare line feeds: 400', async () => {
    expect((await rawRequest(service.url, `POST /v1/decide HTTP/1.1\nHost: localhost\n\n`)).status).toBe(400)
  })
})

describe('A7 to A9: headers decide nothing', () => {
  test.each([
    ['A7', ['X-Forwarded-For: 10.0.0.1', 'X-Forwarded-Proto: https', 'X-Forwarded-Host: evil', 'Forwarded: for=10.0.0.1']],
    ['A8', ['X-Spiffe-Id: spiffe://td/admin', 'X-Forwarded-Client-Cert: x', 'X-Pdp-Principal: admin', 'X-Authenticated-User: admin']],
    ['A9', ['Connection: keep-alive, x-principal', 'X-Principal: admin']],
  ])('%s', async (_what, headers) => {
    const answer = JSON.parse((await rawRequest(service.url, post([json, ...headers]))).body)
    expect(answer.context.trusted.caller).toEqual({ authenticated: false, address: '127.0.0.1' })
    expect(answer.context.header).toBe('none')
  })
})

describe('A10 credentials in two places', () => {
  test('two Authorization fields', async () => {
    const answer = await rawRequest(service.url, post([json, 'Authorization: Bearer a', 'Authorization: Bearer b']))
    expect([answer.status, JSON.parse(answer.body).error.code]).toEqual([400, 'ERR_AMBIGUOUS_CREDENTIALS'])
  })

  test.each(['/v1/decide?access_token=x', '/v1/info?a=b&token=x'])('%s', async (target) => {
    const answer = await rawRequest(service.url, rawDecide([`POST ${target} HTTP/1.1`, 'Host: localhost', json, 'Content-Length: 2'], '{}'))
    expect([answer.status, JSON.parse(answer.body).error.code]).toEqual([400, 'ERR_AMBIGUOUS_CREDENTIALS'])
  })
})

describe('A11 correlation', () => {
  test('a harmless ID comes back and is recorded', async () => {
    const { headers } = await service.decide(question, { 'x-request-id': 'order-7/step 3' })
    expect(headers.get('x-request-id')).toBe('order-7/step 3')
  })

  test.each([
    ['too long', 'x'.repeat(129)],
    ['not ASCII', 'caf\u00e9'],
    ['a tab', 'a\tb'],
  ])('an ID that is %s is replaced', async (_what, id) => {
    const answer = await rawRequest(service.url, post([json, `X-Request-ID: ${id}`]))
    expect(answer.headers).toMatch(/x-request-id: [0-9a-f]{8}-[0-9a-f-]{27}/)
  })

  test('an ID of a megabyte does not get in', async () => {
    expect((await rawRequest(service.url, post([json, `X-Request-ID: ${'x'.repeat(1_000_000)}`]))).status).toBe(431)
  })
})

describe('A12, A13 targets have one reading', () => {
  test.each([
    '//v1/decide',
    '/v1//decide',
    '/v1/decide/',
    '/V1/decide',
    '/v1/%2e%2e/v1/decide',
    '/v1/../v1/decide',
    '/v1;x/decide',
    '/v1/decide;x',
    '/v1\\decide',
    '/v1%2Fdecide',
    '/v1%5Cdecide',
    '/v1/decide%00',
    '/v1/%c0%afdecide',
    '/v1/%252e/decide',
    '/v1/decide%20',
    '/v1/decid%65%',
    '/v1/data/a"];%20input.x%20:=%201',
    '/v1/query/p/allow',
    '/..',
    '/.verdict/admin.token',
  ])('%s: 404', async (target) => {
    const answer = await rawRequest(
      service.url,
      rawDecide([`POST ${target} HTTP/1.1`, 'Host: localhost', json, `Content-Length: ${body.length}`], body),
    )
    expect([400, 404]).toContain(answer.status)
    expect(answer.body).not.toContain('"decision"')
  })

  test('an encoded letter is the letter, and the answer is of the same route', async () => {
    const answer = await rawRequest(
      service.url,
      rawDecide(['POST /v1/decid%65 HTTP/1.1', 'Host: localhost', json, `Content-Length: ${body.length}`], body),
    )
    expect([200, 404]).toContain(answer.status)
  })
})

describe('A14 methods', () => {
  test.each(['GET', 'HEAD', 'PUT', 'DELETE', 'PATCH', 'OPTIONS', 'TRACE'])('%s /v1/decide: 405 with Allow', async (method) => {
    const answer = await rawRequest(service.url, `${method} /v1/decide HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
    expect(answer.status).toBe(405)
    expect(answer.headers.toLowerCase()).toContain('allow: post')
  })

  test('an override field overrides nothing', async () => {
    const answer = await rawRequest(service.url, 'GET /v1/decide HTTP/1.1\r\nHost: localhost\r\nX-HTTP-Method-Override: POST\r\n\r\n')
    expect(answer.status).toBe(405)
  })

  test.each(['BREW', 'CONNECT'])('%s is not served', async (method) => {
    const answer = await rawRequest(service.url, `${method} /v1/decide HTTP/1.1\r\nHost: localhost\r\n\r\n`)
    expect([0, 400, 404, 405]).toContain(answer.status)
  })
})

describe('A15 many headers', () => {
  test('ten thousand: 431', async () => {
    expect((await rawRequest(service.url, post([json, ...Array.from({ length: 10_000 }, (_, i) => `X-${i}: y`)]))).status).toBe(431)
  })

  test('one of 16 KiB: 431', async () => {
    const answer = await rawRequest(service.url, post([json, `X-A: ${'x'.repeat(16_384)}`]))
    expect([answer.status, JSON.parse(answer.body).error.code]).toEqual([431, 'ERR_HEADERS_TOO_LARGE'])
  })
})

describe('A16 hosts', () => {
  test.each([
    ['absent', []],
    ['twice', ['Host: localhost', 'Host: localhost']],
    ['empty', ['Host:']],
    ['another', ['Host: evil.example']],
    ['with a name behind it', ['Host: localhost evil']],
    ['with user information', ['Host: evil@localhost']],
  ])('%s: 400', async (_what, hosts) => {
    const answer = await rawRequest(
      service.url,
      rawDecide(['POST /v1/decide HTTP/1.1', ...hosts, json, `Content-Length: ${body.length}`], body),
    )
    expect(answer.status).toBe(400)
  })

  test('an absolute target of another host: 400, of the same host: answered', async () => {
    const ask = (target: string) =>
      rawRequest(service.url, rawDecide([`POST ${target} HTTP/1.1`, 'Host: localhost', json, `Content-Length: ${body.length}`], body))
    expect((await ask('http://evil.example/v1/decide')).status).toBe(400)
    expect((await ask('http://localhost/v1/decide')).status).toBe(200)
  })
})

test('A22 half a request is cut off in time', async () => {
  const slow = await startTestService(policy, { 'server.requestTimeoutMs': 1_000 })
  const started = performance.now()
  const answer = await rawRequest(slow.url, 'POST /v1/decide HTTP/1.1\r\nHost: localhost\r\nContent-Le', 10_000)
  expect([0, 408]).toContain(answer.status)
  expect(performance.now() - started).toBeLessThan(5_000)
})

test('after all of this the service is right, and nothing went wrong inside', async () => {
  expect((await service.decide(question)).json.decision).toBe(true)
  expect(Object.getOwnPropertyNames(Object.prototype)).not.toContain('polluted')
  expect(service.logged.filter((line) => (line.level as number) >= 50)).toEqual([])
})
