// The doors of gateways over HTTP: nginx, Traefik, Caddy, and the HTTP flavour of Envoy's ext_authz.
import { METHODS } from 'node:http'
import { describe, expect, test } from '@jest/globals'
import { recordSchema } from '../../src/audit/record-schema.ts'
import { rawRequest } from '../support/raw-http.ts'
import { startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const policy = {
  'gate.rego': `package gate

# METADATA
# entrypoint: true
decision := {
	"allow": allow,
	"headers": {"x-user": "u1", "set-cookie": ["a=1", "b=2"]},
	"body": "not you",
	"http_status": status,
}

default allow := false

allow if {
	input.action.name == "GET"
	startswith(input.resource.id, "/open")
	input.resource.properties.hostname == "shop.example"
}

default status := 403

status := 302 if input.resource.id == "/login-first"

status := 401 if input.resource.id == "/who-are-you"
`,
}
const nginx = (uri: string, more: Record<string, string> = {}) => ({
  'x-original-method': 'GET',
  'x-original-uri': uri,
  'x-forwarded-host': 'shop.example',
  'x-forwarded-proto': 'https',
  ...more,
})
const traefik = (uri: string, more: Record<string, string> = {}) => ({
  'x-forwarded-method': 'GET',
  'x-forwarded-uri': uri,
  'x-forwarded-host': 'shop.example',
  'x-forwarded-proto': 'https',
  ...more,
})

async function ask(service: TestService, path: string, headers: Record<string, string>, method = 'GET') {
  const response = await fetch(`${service.url}${path}`, { method, headers, redirect: 'manual' })
  return { status: response.status, body: await response.text(), headers: response.headers }
}

const doors = [
  ['/v1/auth', nginx],
  ['/v1/auth', traefik],
  ['/v1/auth/nginx', nginx],
  ['/v1/auth/traefik', traefik],
  ['/v1/auth/caddy', traefik],
] as const

describe('forward auth', () => {
  test.each(doors)('%s allows with 200 and fields for the upstream, denies with 403, and both are recorded', async (path, told) => {
    const service = await startTestService(policy)
    const allow = await ask(service, path, told('/open/1?a=b', { 'x-request-id': 'fa-1', 'x-forwarded-for': '203.0.113.9, 127.0.0.1' }))
    expect([allow.status, allow.body, allow.headers.get('x-user'), allow.headers.get('cache-control')]).toEqual([200, '', 'u1', 'no-store'])
    expect([allow.headers.getSetCookie(), allow.headers.get('x-request-id')]).toEqual([['a=1', 'b=2'], 'fa-1'])
    const deny = await ask(service, path, told('/closed'))
    expect(deny.status).toBe(403)
    const records = await service.stop()
    expect(records.map(({ id, outcome }) => [id, outcome])).toEqual([
      [allow.headers.get('x-verdict-decision-id'), 'allow'],
      [deny.headers.get('x-verdict-decision-id'), 'deny'],
    ])
    expect(records[0]).toMatchObject({
      door: 'forward-auth',
      correlation_id: 'fa-1',
      subject: { type: 'anonymous', id: 'anonymous' },
      action: { name: 'GET' },
      resource: {
        type: 'route',
        id: '/open/1',
        properties: {
          uri: 'https://shop.example/open/1?a=b',
          schema: 'https',
          hostname: 'shop.example',
          path: '/open/1',
          params: { a: ['b'] },
          ip: '203.0.113.9',
        },
      },
    })
    for (const record of records) expect(recordSchema.safeParse(record).error).toBeUndefined()
  })

  test('statuses are those that the gateway understands, a body only where it is passed on', async () => {
    const service = await startTestService(policy)
    const statuses = async (path: string, told: (uri: string) => Record<string, string>) => {
      const answers = await Promise.all(['/login-first', '/who-are-you', '/closed'].map((uri) => ask(service, path, told(uri))))
      return answers.map(({ status, body }) => [status, body])
    }
    for (const [path, told] of [
      ['/v1/auth', nginx],
      ['/v1/auth', traefik],
      ['/v1/auth/nginx', nginx],
    ] as const) {
      expect(await statuses(path, told)).toEqual([
        [403, ''],
        [401, ''],
        [403, ''],
      ])
    }
    for (const path of ['/v1/auth/traefik', '/v1/auth/caddy'])
      expect(await statuses(path, traefik)).toEqual([
        [302, 'not you'],
        [401, 'not you'],
        [403, 'not you'],
      ])
    expect((await ask(service, '/v1/auth/nginx', nginx('/who-are-you'))).headers.get('www-authenticate')).toBe('Bearer')
    await service.stop()
  })

  test('credentials that nothing verifies are 401, whatever the policy says', async () => {
    const service = await startTestService(policy)
    for (const [path, told] of doors) {
      const answer = await ask(service, path, told('/open/1', { authorization: 'Bearer eyJ' }))
      expect([answer.status, answer.headers.get('www-authenticate'), answer.headers.get('x-user')]).toEqual([
        401,
        'Bearer error="invalid_token"',
        null,
      ])
    }
    for (const record of await service.stop()) expect(record).toMatchObject({ outcome: 'error', error: { code: 'ERR_TOKEN_INVALID' } })
  })

  test.each([
    ['without fields', '/v1/auth', {}],
    ['nginx without the method', '/v1/auth/nginx', { 'x-original-uri': '/open/1' }],
    ['nginx with the fields of others', '/v1/auth/nginx', traefik('/open/1')],
    ['traefik with the fields of others', '/v1/auth/traefik', nginx('/open/1')],
    ['two conventions that differ', '/v1/auth', { ...traefik('/open/1'), 'x-original-method': 'GET', 'x-original-uri': '/closed' }],
    ['a path with two readings', '/v1/auth', nginx('/open/../closed')],
    ['an encoded slash', '/v1/auth', nginx('/open%2f..%2fclosed')],
    ['a path that is encoded twice', '/v1/auth/traefik', traefik('/%256fpen/1')],
    ['an absolute URL', '/v1/auth', nginx('http://shop.example/open/1')],
    ['a method in small letters', '/v1/auth', nginx('/open/1', { 'x-original-method': 'get' })],
    ['a method that is two', '/v1/auth', nginx('/open/1', { 'x-original-method': 'GET, POST' })],
    ['a host with a path', '/v1/auth', nginx('/open/1', { 'x-forwarded-host': 'shop.example/x' })],
    ['a route below that does not exist', '/v1/auth/other', nginx('/open/1')],
    ['a route below that is ambiguous', '/v1/auth//nginx', nginx('/open/1')],
  ])('%s is 403', async (_what, path, headers) => {
    const service = await startTestService(policy)
    const answer = await ask(service, path, headers as Record<string, string>)
    expect([answer.status, answer.body]).toEqual([403, ''])
    expect((await service.stop()).filter(({ outcome }) => outcome === 'allow')).toEqual([])
  })

  test('a field that is there twice is 403', async () => {
    const service = await startTestService(policy)
    for (const twice of ['X-Original-URI: /closed', 'X-Original-Method: GET', 'X-Forwarded-Host: evil.example']) {
      const lines = [
        'GET /v1/auth HTTP/1.1',
        'Host: localhost',
        'X-Original-Method: GET',
        'X-Original-URI: /open/1',
        'X-Forwarded-Host: shop.example',
        twice,
        '',
        '',
      ]
      expect((await rawRequest(service.url, lines.join('\r\n'))).status).toBe(403)
    }
    await service.stop()
  })

  test('a peer that is no gateway is denied, whatever it says', async () => {
    const service = await startTestService(policy, { 'gateways.trustedProxies': ['10.0.0.0/8'] })
    for (const [path, told] of doors) expect((await ask(service, path, told('/open/1'))).status).toBe(403)
    expect(await service.stop()).toEqual([])
  })

  test('the gateway has credentials of its own', async () => {
    const file = `${tempFolder({ token: 'let-me-in-please-1234567890' })}/token`
    const service = await startTestService(policy, { 'authentication.decideTokenFile': file })
    const bearer = 'Bearer let-me-in-please-1234567890'
    expect((await ask(service, '/v1/auth', nginx('/open/1'))).status).toBe(403)
    expect((await ask(service, '/v1/auth', nginx('/open/1', { authorization: bearer }))).status).toBe(403)
    expect((await ask(service, '/v1/auth', nginx('/open/1', { 'x-verdict-authorization': bearer }))).status).toBe(200)
    await service.stop()
  })

  test('every method is answered', async () => {
    const service = await startTestService(policy)
    for (const method of METHODS.filter((one) => one !== 'CONNECT')) {
      for (const path of ['/v1/auth', '/v1/auth/nginx']) {
        const lines = [
          `${method} ${path} HTTP/1.1`,
          'Host: localhost',
          'Connection: close',
          'X-Original-Method: GET',
          'X-Original-URI: /open/1',
          'X-Forwarded-Host: shop.example',
          // RFC 10008 (QUERY) wants one, and Fastify sees to it.
          ...(method === 'QUERY' ? ['Content-Type: text/plain', 'Content-Length: 0'] : []),
          '',
          '',
        ]
        expect([method, (await rawRequest(service.url, lines.join('\r\n'))).status]).toEqual([method, 200])
      }
    }
    await service.stop()
  })

  test('whatever fails is 403', async () => {
    const without = await startTestService(undefined)
    for (const [path, told] of doors) expect((await ask(without, path, told('/open/1'))).status).toBe(403)
    await without.stop()
    const endless = await startTestService(
      {
        'p.rego':
          'package p\n\n# METADATA\n# entrypoint: true\nallow if {\n\tsome i in numbers.range(1, 10000)\n\tsome j in numbers.range(1, 10000)\n\ti + j == 0.5\n}\n',
      },
      { 'evaluation.maxSteps': 100_000 },
    )
    for (const [path, told] of doors) expect((await ask(endless, path, told('/open/1'))).status).toBe(403)
    expect(await endless.stop()).toMatchObject(doors.map(() => ({ outcome: 'error' })))
  })

  test('answers may be kept where that is configured, refusals never', async () => {
    const service = await startTestService(policy, { 'gateways.cacheControl': 'private, max-age=5' })
    expect((await ask(service, '/v1/auth', nginx('/open/1'))).headers.get('cache-control')).toBe('private, max-age=5')
    expect((await ask(service, '/v1/auth', nginx('/open/1', { authorization: 'Basic x' }))).headers.get('cache-control')).toBe('no-store')
    await service.stop()
  })
})

describe('ext_authz over HTTP', () => {
  const envoy = {
    'e.rego': `package envoy.authz

http := input.attributes.request.http

# METADATA
# entrypoint: true
allow := {
	"allowed": http.method in {"GET", "PURGE", "POST"},
	"headers": {"x-path": concat("|", input.parsed_path), "x-query": json.marshal(input.parsed_query), "x-host": http.host, "x-body": json.marshal(input.parsed_body)},
	"request_headers_to_remove": ["cookie", "authorization"],
	"http_status": 429,
	"body": "slow down",
}
`,
  }

  test('the original request is the path behind the prefix, the method, the fields and the body', async () => {
    const service = await startTestService(envoy)
    const get = await ask(service, '/v1/auth/envoy/docs/1?a=b', { authorization: 'Basic x', cookie: 'c' })
    expect([get.status, get.headers.get('x-path'), get.headers.get('x-query'), get.headers.get('x-body')]).toEqual([
      200,
      'docs|1',
      '{"a":["b"]}',
      'null',
    ])
    expect(get.headers.get('x-envoy-auth-headers-to-remove')).toBe('cookie, authorization')
    const root = await ask(service, '/v1/auth/envoy', {}, 'PURGE')
    expect([root.status, root.headers.get('x-path')]).toEqual([200, ''])
    const post = await fetch(`${service.url}/v1/auth/envoy/x`, {
      method: 'POST',
      body: '{"a":1}',
      headers: { 'content-type': 'application/json' },
    })
    expect([post.status, post.headers.get('x-body')]).toEqual([200, '{"a":1}'])
    const deny = await ask(service, '/v1/auth/envoy/docs', {}, 'DELETE')
    expect([deny.status, deny.body, deny.headers.get('x-envoy-auth-headers-to-remove')]).toEqual([429, 'slow down', null])
    expect((await service.stop()).map(({ door, outcome }) => [door, outcome])).toEqual([
      ['envoy-http', 'allow'],
      ['envoy-http', 'allow'],
      ['envoy-http', 'allow'],
      ['envoy-http', 'deny'],
    ])
  })

  test.each(['/v1/auth/envoy/a/%2e%2e/b', '/v1/auth/envoy//a', '/v1/auth/envoy/a%2fb', '/v1/auth/envoy/%61', '/v1/auth/envoy/a;b'])(
    '%s is 403',
    async (path) => {
      const service = await startTestService(envoy)
      const answer = await rawRequest(service.url, `GET ${path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n`)
      expect(answer.status).toBe(403)
      expect(await service.stop()).toEqual([])
    },
  )
})
