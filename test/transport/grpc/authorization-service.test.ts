// Envoy's Authorization service, asked by a client that was made from the .proto file.
import { readFileSync } from 'node:fs'
import { describe, expect, test } from '@jest/globals'
import { recordSchema } from '../../../src/audit/record-schema.ts'
import { call, grpcClient, type Message } from '../../support/grpc.ts'
import { startTestService, type TestService } from '../../support/service.ts'
import { tempFolder } from '../../support/temp-folder.ts'

/** As it would be written for opa-envoy-plugin. */
const policy = {
  'envoy.rego': `package envoy.authz

import input.attributes.request.http as http_request

default allow := {"allowed": false, "http_status": 401, "headers": {"X-Why": "no rule"}, "body": "sign in first"}

# METADATA
# entrypoint: true
allow := {
	"allowed": true,
	"headers": {"X-User": "alice", "x-many": ["a", "b"]},
	"request_headers_to_remove": ["authorization"],
	"response_headers_to_add": {"x-served-by": "verdict"},
	"query_parameters_to_set": {"u": "1"},
	"query_parameters_to_remove": ["v"],
	"dynamic_metadata": {"n": 1, "list": [true, null, {"a": "b"}]},
} if {
	http_request.method == "GET"
	input.parsed_path == ["docs", "1"]
	input.parsed_query.q[0] == "x"
}

allow := true if input.parsed_body.user == "alice"

allow := input if input.parsed_path == ["echo"]

allow := {"allowed": true, "headers": headers[name]} if {
	["bad", name] = input.parsed_path
}

headers := {
	"split": {"x": "a\\r\\nb"},
	"host": {"Host": "evil"},
	"pseudo": {":path": "/admin"},
	"number": {"x": 1},
	"text": "x",
	"framing": {"Transfer-Encoding": "chunked"},
}

allow := {"allowed": false, "http_status": 200} if input.parsed_path == ["deny-with-200"]
`,
}

const http = (more: object) => ({
  id: '1',
  method: 'GET',
  headers: { 'x-request-id': 'envoy-1' },
  path: '/docs/1?q=x',
  host: 'shop.example:8443',
  scheme: 'https',
  protocol: 'HTTP/2',
  size: -1,
  ...more,
})
const source = { principal: 'spiffe://td/web', address: { socket_address: { address: '10.1.2.3', port_value: 4711 } } }
const check = (more: object = {}) => ({
  attributes: { source, request: { time: { seconds: 1_772_618_400, nanos: 120_000_000 }, http: http(more) } },
})
const authorization = (service: TestService) => grpcClient(service.grpcAddress, 'envoy.service.auth.v3.Authorization')
const fields = (given: readonly { header: { key: string; value: string }; append: { value: boolean } | null }[]) =>
  given.map(({ header, append }) => [header.key, header.value, append?.value ?? false])

async function ask(service: TestService, message: Message, metadata = {}): Promise<Message> {
  const { code, message: answer } = await call(authorization(service), 'Check', message, metadata)
  expect(code).toBe(0)
  return answer
}

describe('Check', () => {
  test('a policy for opa-envoy-plugin says what passes, and what changes in it', async () => {
    const service = await startTestService(policy)
    const answer = await ask(service, check())
    expect(answer.status).toEqual({ code: 0, message: '' })
    const ok = answer.ok_response
    expect(fields(ok.headers)).toEqual([
      ['x-user', 'alice', false],
      ['x-many', 'a', false],
      ['x-many', 'b', true],
    ])
    expect([ok.headers_to_remove, fields(ok.response_headers_to_add)]).toEqual([['authorization'], [['x-served-by', 'verdict', false]]])
    expect([ok.query_parameters_to_set, ok.query_parameters_to_remove]).toEqual([[{ key: 'u', value: '1' }], ['v']])
    const [record] = await service.stop()
    expect(answer.dynamic_metadata.fields.decision_id.stringValue).toBe(record?.['id'])
    expect(answer.dynamic_metadata.fields.n.numberValue).toBe(1)
    expect(record).toMatchObject({
      door: 'envoy',
      correlation_id: 'envoy-1',
      outcome: 'allow',
      policy: { entrypoint: 'envoy/authz/allow' },
      subject: { type: 'identity', id: 'spiffe://td/web' },
      action: { name: 'GET' },
      resource: {
        type: 'route',
        id: '/docs/1',
        properties: { uri: 'https://shop.example:8443/docs/1?q=x', hostname: 'shop.example', params: { q: ['x'] }, ip: '10.1.2.3' },
      },
    })
    expect(recordSchema.safeParse(record).error).toBeUndefined()
  })

  test('a deny has the status, the fields and the body that the policy gives it', async () => {
    const service = await startTestService(policy)
    const { status, denied_response: denied } = await ask(service, check({ method: 'POST' }))
    expect([status.code, denied.status.code, denied.body, fields(denied.headers)]).toEqual([
      7,
      401,
      'sign in first',
      [['x-why', 'no rule', false]],
    ])
    expect((await ask(service, check({ path: '/deny-with-200' }))).denied_response.status.code).toBe(403)
    expect(await service.stop()).toMatchObject([{ outcome: 'deny' }, { outcome: 'deny' }])
  })

  test('the input is that of opa-envoy-plugin', async () => {
    const service = await startTestService(
      {
        ...policy,
        'echo.rego':
          'package echo\n\n# METADATA\n# entrypoint: true\ndecision := {"allow": true, "dynamic_metadata": {"input": json.marshal(input)}}\n',
      },
      { 'gateways.policy': 'main:echo/decision' },
    )
    const body = {
      headers: { 'content-type': 'application/json', 'content-length': '30' },
      raw_body: Buffer.from('{"user":"bob","n":1.10,"n2":[]}'),
      path: '/a%20b/c?x=1&x=2&y=',
    }
    const given = check(body)
    const answer = await ask(service, {
      attributes: {
        ...given.attributes,
        context_extensions: { k: 'v' },
        destination: { labels: { l: '1' } },
        metadata_context: { filter_metadata: { f: { fields: { a: { numberValue: 1.5 } } } } },
        tls_session: { sni: 's' },
      },
    })
    const text: string = answer.dynamic_metadata.fields.input.stringValue
    const { trusted, ...input } = JSON.parse(text)
    expect(input).toEqual({
      attributes: {
        source: { principal: 'spiffe://td/web', address: { socketAddress: { address: '10.1.2.3', portValue: 4711 } } },
        destination: { labels: { l: '1' } },
        request: {
          time: '2026-03-04T10:00:00.120Z',
          http: {
            id: '1',
            method: 'GET',
            headers: body.headers,
            path: '/a%20b/c?x=1&x=2&y=',
            host: 'shop.example:8443',
            scheme: 'https',
            protocol: 'HTTP/2',
            size: '-1',
            rawBody: body.raw_body.toString('base64'),
          },
        },
        contextExtensions: { k: 'v' },
        metadataContext: { filterMetadata: { f: { a: 1.5 } } },
        tlsSession: { sni: 's' },
      },
      parsed_path: ['a b', 'c'],
      parsed_query: { x: ['1', '2'], y: [''] },
      parsed_body: { user: 'bob', n: 1.1, n2: [] },
      truncated_body: false,
      version: { encoding: 'protojson', ext_authz: 'v3' },
    })
    expect(text).toContain('"n":1.10')
    expect(trusted.caller).toEqual({ authenticated: false, address: '127.0.0.1' })
    await service.stop()
  })

  test('a body that is a form is parsed, too', async () => {
    const service = await startTestService({
      'f.rego': 'package f\n\n# METADATA\n# entrypoint: true\nallow if input.parsed_body == {"a": ["1 2", "3"]}\n',
    })
    const form = { headers: { 'content-type': 'application/x-www-form-urlencoded' }, body: 'a=1+2&a=3' }
    expect((await ask(service, check(form))).status.code).toBe(0)
    const data = new FormData()
    data.append('a', '1 2')
    data.append('a', '3')
    const sent = new Response(data)
    const headers = { 'content-type': sent.headers.get('content-type') as string }
    const parts = { headers, raw_body: Buffer.from(await sent.arrayBuffer()) }
    expect((await ask(service, check(parts))).status.code).toBe(0)
    await service.stop()
  })

  test.each([
    ['a path with two readings', { path: '/docs/../docs/1?q=x' }],
    ['an encoded slash', { path: '/docs%2f1?q=x' }],
    ['a letter that needs no encoding', { path: '/%64ocs/1?q=x' }],
    ['two slashes', { path: '//docs/1?q=x' }],
    ['no path', { path: '' }],
    ['a method in small letters', { method: 'get' }],
    ['a host with spaces', { host: 'a b' }],
    ['a body cut by the gateway', { headers: { 'x-envoy-auth-partial-body': 'true' }, body: '{"user":"alice"}' }],
    ['a body shorter than it says', { headers: { 'content-length': '100' }, body: '{"user":"alice"}' }],
    ['a body with a key twice', { headers: { 'content-type': 'application/json' }, body: '{"user":"bob","user":"alice"}' }],
    ['a body that is no JSON', { headers: { 'content-type': 'application/json' }, body: '{"user":"alice"' }],
  ])('%s is denied as malformed, and no policy is asked', async (_what, more) => {
    const service = await startTestService(policy)
    const { status, denied_response: denied } = await ask(service, check(more))
    expect([status.code, denied.status.code]).toEqual([7, 400])
    expect(await service.stop()).toEqual([])
  })

  test.each([
    ['no attributes', {}],
    ['no request', { attributes: {} }],
  ])('%s is denied', async (_what, message) => {
    const service = await startTestService(policy)
    expect((await ask(service, message)).status.code).toBe(7)
    await service.stop()
  })

  test('a body that was cut reaches the policy where that is configured, unparsed', async () => {
    const service = await startTestService(
      { 't.rego': 'package t\n\n# METADATA\n# entrypoint: true\nallow if {\n\tinput.truncated_body\n\tinput.parsed_body == null\n}\n' },
      { 'gateways.truncatedBodies': 'pass' },
    )
    expect(
      (await ask(service, check({ headers: { 'x-envoy-auth-partial-body': 'true', 'content-type': 'application/json' }, body: '{"a":' })))
        .status.code,
    ).toBe(0)
    await service.stop()
  })

  test.each(['split', 'host', 'pseudo', 'number', 'text', 'framing'])(
    'a result that Envoy could not use is no allow, and recorded so: %s',
    async (name) => {
      const service = await startTestService(policy)
      expect((await ask(service, check({ path: `/bad/${name}` }))).status.code).toBe(7)
      expect(await service.stop()).toMatchObject([{ outcome: 'error', decision: false, error: { code: 'ERR_RESULT_UNUSABLE' } }])
    },
  )

  test('whatever fails is a deny, and never an error of gRPC', async () => {
    const without = await startTestService(undefined)
    expect((await ask(without, check())).status).toMatchObject({ code: 7, message: expect.stringContaining('ERR_NO_BUNDLE') })
    await without.stop()
    const file = `${tempFolder({ token: 'let-me-in-please-1234567890' })}/token`
    const closed = await startTestService(policy, { 'authentication.decideTokenFile': file })
    expect((await ask(closed, check())).status.code).toBe(7)
    expect((await ask(closed, check(), { authorization: `Bearer ${readFileSync(file, 'utf8')}` })).status.code).toBe(0)
    await closed.stop()
  })
})
