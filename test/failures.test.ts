// What each door answers when (docs/design.md, section 5), cell by cell. Allow and deny are in doors.test.ts, revocation and
// quarantine in isolation.test.ts, tokens of subjects in transport/subject-tokens.test.ts.
import { join } from 'node:path'
import { describe, expect, test } from '@jest/globals'
import { call, grpcClient, type Outcome } from './support/grpc.ts'
import { startTestService, type TestService } from './support/service.ts'
import { tempFolder } from './support/temp-folder.ts'

const policy = (result: string) => ({
  'p.rego': `package p\n\n# METADATA\n# entrypoint: true\ndecision := ${result}\n`,
})
const endless = '1 if {\n\tsome i in numbers.range(1, 10000)\n\tsome j in numbers.range(1, 10000)\n\ti + j == 0.5\n}'
const question = { subject: { type: 'user', id: 'a' }, action: { name: 'GET' }, resource: { type: 'route', id: '/x' } }
const malformed = { subject: question.subject, action: question.action }

type Row = readonly [status: number, ...rest: unknown[]]
interface Asked {
  /** What is asked instead of a good question. */
  readonly malformed?: boolean
  readonly token?: boolean
}

/** What a door answered, of any shape. */
// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape
type Json = any

async function http(
  service: TestService,
  path: string,
  body: object | undefined,
  headers: Record<string, string> = {},
): Promise<{ status: number; json: Json; headers: Headers }> {
  const response = await fetch(`${service.url}${path}`, {
    method: body === undefined ? 'GET' : 'POST',
    ...(body !== undefined && { body: JSON.stringify(body) }),
    headers: { ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
  })
  const text = await response.text()
  return { status: response.status, json: text.startsWith('{') ? JSON.parse(text) : text, headers: response.headers }
}

/** Status, decision and code of each door; at the gateways' doors also WWW-Authenticate. */
const doors = {
  async decide(service: TestService, asked: Asked): Promise<Row> {
    const body = asked.malformed ? malformed : { ...question, ...(asked.token && { token: 'eyJ' }) }
    const { status, json, headers } = await http(service, '/v1/decide', body)
    return status === 200
      ? [status, json.decision, json.context.error?.code ?? json.context.reasons?.[0]]
      : [status, json.error.code, headers.get('retry-after')]
  },
  async authzen(service: TestService, asked: Asked): Promise<Row> {
    const { status, json, headers } = await http(service, '/access/v1/evaluation', asked.malformed ? malformed : question)
    return status === 200
      ? [status, json.decision, json.context.error?.code ?? json.context.reasons?.[0]]
      : [status, json.error.code, headers.get('retry-after')]
  },
  async opa(service: TestService, asked: Asked): Promise<Row> {
    const { status, json, headers } = await http(service, '/v1/data/p/decision', asked.malformed ? [] : { input: question })
    return status === 200 ? [status, json.result] : [status, json.errors[0].code, headers.get('retry-after')]
  },
  async opaV0(service: TestService): Promise<Row> {
    const { status, json } = await http(service, '/v0/data/p/decision', question)
    return status === 200 ? [status, json] : [status, json.code]
  },
  async envoy(service: TestService, asked: Asked): Promise<Row> {
    const request = { http: { method: 'GET', path: asked.malformed ? '/a/../x' : '/x', host: 'h', scheme: 'http' } }
    const { code, message } = await call(grpcClient(service.grpcAddress, 'envoy.service.auth.v3.Authorization'), 'Check', {
      attributes: { request },
    })
    return [code, message.status.code, message.denied_response?.status.code]
  },
  async envoyHttp(service: TestService, asked: Asked): Promise<Row> {
    const { status } = await http(service, asked.malformed ? '/v1/auth/envoy/a%2fx' : '/v1/auth/envoy/x', undefined)
    return [status]
  },
  async forwardAuth(service: TestService, asked: Asked): Promise<Row> {
    const told = {
      'x-original-method': 'GET',
      'x-original-uri': asked.malformed ? '/a/../x' : '/x',
      ...(asked.token && { authorization: 'Bearer eyJ' }),
    }
    const { status, headers } = await http(service, '/v1/auth', undefined, told)
    return [status, headers.get('www-authenticate')]
  },
  async grpc(service: TestService, asked: Asked): Promise<Row> {
    const message = asked.malformed ? malformed : { ...question, ...(asked.token && { token: 'eyJ' }) }
    const outcome: Outcome = await call(grpcClient(service.grpcAddress, 'verdict.v1.DecisionService'), 'Decide', message)
    if (outcome.code !== 0) return [outcome.code, outcome.details.split(':')[0]]
    const { decision, error, context_json: context } = outcome.message.decision
    return [0, decision, error?.code ?? JSON.parse(context || '{}').reasons?.[0]]
  },
} as const
type Door = keyof typeof doors

async function rows(service: TestService, asked: Asked = {}): Promise<Record<Door, Row>> {
  const answered: [string, Row][] = []
  for (const [name, ask] of Object.entries(doors)) answered.push([name, await ask(service, asked)])
  return Object.fromEntries(answered) as Record<Door, Row>
}

const refused = { envoy: [0, 7, 403], envoyHttp: [403], forwardAuth: [403, null] } as const
const grpcStatus = { invalidArgument: 3, resourceExhausted: 8, unavailable: 14, unauthenticated: 16 } as const

describe('what each door answers when', () => {
  test('the value is undefined', async () => {
    const service = await startTestService(policy('true if false'))
    const denied = [200, false, 'undefined_decision'] as const
    expect(await rows(service)).toEqual({
      decide: denied,
      authzen: denied,
      opa: [200, undefined],
      opaV0: [404, 'undefined_document'],
      ...refused,
      grpc: [0, false, 'undefined_decision'],
    })
    await service.stop()
  })

  test.each(['1', '"true"', 'null', '[true]', '{"allow": 1}'])('the value is %s', async (value) => {
    const service = await startTestService(policy(value))
    const denied = [200, false, 'not_a_boolean_decision'] as const
    const json = JSON.parse(value)
    expect(await rows(service)).toEqual({
      decide: denied,
      authzen: denied,
      opa: [200, json],
      opaV0: [200, typeof json === 'object' && json !== null && !Array.isArray(json) ? json : JSON.stringify(json)],
      ...refused,
      grpc: [0, false, 'not_a_boolean_decision'],
    })
    await service.stop()
  })

  test('the request is malformed', async () => {
    const service = await startTestService(policy('true'))
    const { opaV0: _, ...answered } = await rows(service, { malformed: true })
    expect(answered).toEqual({
      decide: [400, 'ERR_INVALID_REQUEST', null],
      authzen: [400, 'ERR_INVALID_REQUEST', null],
      opa: [400, 'ERR_INVALID_REQUEST', null],
      envoy: [0, 7, 400],
      envoyHttp: [403],
      forwardAuth: [403, null],
      grpc: [grpcStatus.invalidArgument, 'ERR_INVALID_REQUEST'],
    })
    // Any JSON is a good body for v0.
    expect((await service.stop()).map(({ door }) => door)).toEqual(['opa'])
  })

  test('the caller is not authenticated', async () => {
    const file = join(tempFolder({ token: 'let-me-in-please-1234567890' }), 'token')
    const service = await startTestService(policy('true'), { 'authentication.decideTokenFile': file })
    const { opaV0, ...answered } = await rows(service)
    expect(opaV0[0]).toBe(401)
    const denied = [401, 'ERR_UNAUTHENTICATED', null] as const
    expect(answered).toEqual({
      decide: denied,
      authzen: denied,
      opa: denied,
      ...refused,
      grpc: [grpcStatus.unauthenticated, 'ERR_UNAUTHENTICATED'],
    })
    expect(await service.stop()).toEqual([])
  })

  test("the subject's token is invalid", async () => {
    const service = await startTestService(policy('true'))
    const { decide, forwardAuth, grpc } = await rows(service, { token: true })
    expect({ decide, forwardAuth, grpc }).toEqual({
      decide: [200, false, 'ERR_TOKEN_INVALID'],
      forwardAuth: [401, 'Bearer error="invalid_token"'],
      grpc: [0, false, 'ERR_TOKEN_INVALID'],
    })
    await service.stop()
  })

  test('the evaluation does not end, or needs too much memory', async () => {
    const service = await startTestService(policy(endless), { 'evaluation.maxSteps': 100_000 })
    const denied = [200, false, 'ERR_STEPS_EXHAUSTED'] as const
    expect(await rows(service)).toEqual({
      decide: denied,
      authzen: denied,
      opa: [500, 'ERR_STEPS_EXHAUSTED', null],
      opaV0: [500, 'internal_error'],
      ...refused,
      grpc: [0, false, 'ERR_STEPS_EXHAUSTED'],
    })
    for (const record of await service.stop()) expect(record).toMatchObject({ outcome: 'error', error: { code: 'ERR_STEPS_EXHAUSTED' } })
  })

  test('there is no bundle', async () => {
    const service = await startTestService(undefined)
    const none = [503, 'ERR_NO_BUNDLE', '1'] as const
    expect(await rows(service)).toEqual({
      decide: none,
      authzen: none,
      opa: none,
      opaV0: [503, 'unavailable'],
      ...refused,
      grpc: [grpcStatus.unavailable, 'ERR_NO_BUNDLE'],
    })
    await service.stop()
  })

  test('the log cannot be written', async () => {
    const service = await startTestService(policy('true'), { 'decisionLog.maxPendingBytes': 1 })
    // The first answer fills what may wait.
    await http(service, '/v1/decide', question)
    const busy = [503, 'ERR_LOG_UNAVAILABLE', '1'] as const
    const answered = async () => ({
      decide: await doors.decide(service, {}),
      grpc: await doors.grpc(service, {}),
      envoy: await doors.envoy(service, {}),
    })
    const all = [await answered()]
    for (let i = 0; i < 5; i++) all.push(await answered())
    // Between two writes there is room for one answer.
    expect(all.some(({ decide }) => JSON.stringify(decide) === JSON.stringify(busy))).toBe(true)
    expect(all.some(({ grpc }) => grpc[0] === grpcStatus.unavailable && grpc[1] === 'ERR_LOG_UNAVAILABLE')).toBe(true)
    for (const { envoy } of all)
      expect([
        [0, 0, undefined],
        [0, 7, 403],
      ]).toContainEqual(envoy)
    await service.stop()
  })

  test('the caller has used up its steps', async () => {
    const file = join(tempFolder({ token: 'let-me-in-please-1234567890' }), 'token')
    const service = await startTestService(policy(endless), {
      'authentication.decideTokenFile': file,
      'evaluation.maxSteps': 50_000,
      'evaluation.callerStepsPerSecond': 1,
    })
    const authorization = 'Bearer let-me-in-please-1234567890'
    const ask = () => http(service, '/v1/decide', question, { authorization })
    await ask()
    expect((await ask()).json.error.code).toBe('ERR_OVERLOADED')
    const client = grpcClient(service.grpcAddress, 'verdict.v1.DecisionService')
    expect((await call(client, 'Decide', question, { authorization })).code).toBe(grpcStatus.resourceExhausted)
    const told = { 'x-original-method': 'GET', 'x-original-uri': '/x', 'x-verdict-authorization': authorization }
    expect((await http(service, '/v1/auth', undefined, told)).status).toBe(403)
    const check = { attributes: { request: { http: { method: 'GET', path: '/x', host: 'h', scheme: 'http' } } } }
    expect(
      (await call(grpcClient(service.grpcAddress, 'envoy.service.auth.v3.Authorization'), 'Check', check, { authorization })).message.status
        .code,
    ).toBe(7)
    await service.stop()
  })
})
