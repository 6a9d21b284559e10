// One set of questions through every door: the engine itself, /v1/decide, AuthZEN, OPA's API, ext_authz over gRPC and HTTP, forward
// auth, and gRPC. All agree, and each leaves one record with the same fields.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { recordSchema } from '../src/audit/record-schema.ts'
import { readResult } from '../src/decision/read-result.ts'
import { PolicyInstance } from '../src/policy/policy-instance.ts'
import { compilePolicyModule } from '../src/policy/policy-module.ts'
import { parseTarget } from '../src/transport/gateway/target.ts'
import { call, grpcClient } from './support/grpc.ts'
import { readRecords, startTestService, type TestService } from './support/service.ts'
import { builtinHost, toolchain } from './support/toolchain.ts'

interface Case {
  readonly name: string
  readonly method: string
  readonly uri: string
  readonly decision: boolean
  readonly reasons?: readonly string[]
  readonly error?: string
}

const folder = join(import.meta.dirname, 'cases/doors')
const cases: Case[] = readdirSync(folder).flatMap((name) => JSON.parse(readFileSync(join(folder, name), 'utf8')))
const read = (name: string) => readFileSync(join(import.meta.dirname, 'doors', name), 'utf8')
const bundle = { 'policy.rego': read('policy.rego'), 'data.json': read('data.json') }
// Paths of gateways may hold any letters, so identifiers of the native doors may here.
const limits = { 'evaluation.maxSteps': 100_000, 'requests.identifiers': 'unicode' }
const host = 'shop.example'

let service: TestService
beforeAll(async () => {
  service = await startTestService(bundle, limits)
})

/** The case in AuthZEN's terms, as the gateway doors put it. */
function question({ method, uri }: Case) {
  const { path, params } = parseTarget(uri)
  const properties = {
    uri: `https://${host}${uri}`,
    schema: 'https',
    hostname: host,
    path,
    params: Object.fromEntries(params),
    ip: '203.0.113.9',
  }
  return { subject: { type: 'anonymous', id: 'anonymous' }, action: { name: method }, resource: { type: 'route', id: path, properties } }
}

/** What a door answered: whether it lets pass, and the ID of the record where it tells one. */
interface Answered {
  readonly decision: boolean
  readonly id?: string | undefined
}

/** What a door answered, of any shape. */
// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape
type Json = any

async function post(path: string, body: object): Promise<{ status: number; json: Json }> {
  const response = await fetch(`${service.url}${path}`, {
    method: 'POST',
    body: JSON.stringify(body),
    headers: { 'content-type': 'application/json' },
  })
  return { status: response.status, json: await response.json() }
}

async function gateway(path: string, headers: Record<string, string>, method = 'GET'): Promise<Answered> {
  const { status, headers: answered } = await fetch(`${service.url}${path}`, {
    method,
    headers: { 'x-forwarded-for': '203.0.113.9', ...headers },
  })
  expect([200, 403]).toContain(status)
  return { decision: status === 200, id: answered.get('x-verdict-decision-id') ?? undefined }
}

const forwarded = { 'x-forwarded-host': host, 'x-forwarded-proto': 'https' }
const doors: Record<string, { door: string; ask(one: Case): Promise<Answered> }> = {
  '/v1/decide': {
    door: 'decide',
    async ask(one) {
      const { json } = await post('/v1/decide', question(one))
      return { decision: json.decision, id: json.id }
    },
  },
  AuthZEN: {
    door: 'authzen',
    async ask(one) {
      const { json } = await post('/access/v1/evaluation', question(one))
      return { decision: json.decision, id: json.context.id }
    },
  },
  "OPA's API": {
    door: 'opa',
    async ask(one) {
      const { status, json } = await post('/v1/data/doors/decision', { input: question(one) })
      return { decision: status === 200 && json.result.decision === true, id: json.decision_id }
    },
  },
  'gRPC Decide': {
    door: 'grpc',
    async ask(one) {
      const { subject, action, resource } = question(one)
      const { type, id, properties } = resource
      const message = { subject, action, resource: { type, id, properties_json: JSON.stringify(properties) } }
      const { decision } = (await call(grpcClient(service.grpcAddress, 'verdict.v1.DecisionService'), 'Decide', message)).message
      return { decision: decision.decision, id: decision.id }
    },
  },
  'ext_authz gRPC': {
    door: 'envoy',
    async ask({ method, uri }) {
      const http = { method, path: uri, host, scheme: 'https' }
      const source = { address: { socket_address: { address: '203.0.113.9' } } }
      const client = grpcClient(service.grpcAddress, 'envoy.service.auth.v3.Authorization')
      const { code, message } = await call(client, 'Check', { attributes: { source, request: { http } } })
      expect(code).toBe(0)
      expect([0, 7]).toContain(message.status.code)
      return { decision: message.status.code === 0, id: message.dynamic_metadata?.fields.decision_id.stringValue }
    },
  },
  'ext_authz HTTP': {
    door: 'envoy-http',
    ask: ({ method, uri }) => gateway(`/v1/auth/envoy${uri}`, { ...forwarded }, method),
  },
  nginx: {
    door: 'forward-auth',
    ask: ({ method, uri }) => gateway('/v1/auth/nginx', { ...forwarded, 'x-original-method': method, 'x-original-uri': uri }),
  },
  Traefik: {
    door: 'forward-auth',
    ask: ({ method, uri }) => gateway('/v1/auth/traefik', { ...forwarded, 'x-forwarded-method': method, 'x-forwarded-uri': uri }),
  },
}

describe.each(cases.map((one) => [one.name, one] as const))('%s', (_name, one) => {
  test('the engine', async () => {
    const { wasm } = await toolchain.build({ files: { 'policy.rego': bundle['policy.rego'] } })
    const instance = new PolicyInstance(await compilePolicyModule(wasm), bundle['data.json'], await builtinHost(), {
      maxSteps: 100_000,
      maxMemoryBytes: 2 ** 26,
    })
    const evaluate = () => instance.evaluate(0, JSON.stringify(question(one)), 0).result
    if (one.error !== undefined) expect(evaluate).toThrow(expect.objectContaining({ code: one.error }))
    else expect(readResult(evaluate())).toMatchObject({ allowed: one.decision, reasons: JSON.stringify(one.reasons) })
  })

  test.each(Object.keys(doors))('%s', async (name) => {
    const { door, ask } = doors[name] as (typeof doors)[string]
    const { decision, id } = await ask(one)
    expect(decision).toBe(one.decision)
    const record = await newestRecord()
    if (id !== undefined) expect(record['id']).toBe(id)
    const { subject, action, resource } = question(one)
    expect(recordSchema.safeParse(record).error).toBeUndefined()
    expect(record).toMatchObject({
      door,
      subject,
      action,
      decision,
      outcome: one.error !== undefined ? 'error' : decision ? 'allow' : 'deny',
      policy: { bundle: 'main', entrypoint: 'doors/decision', epoch: 1 },
    })
    const { properties, ...named } = resource
    expect(record['resource']).toMatchObject(named)
    // The HTTP flavour of ext_authz tells neither the client's host and scheme nor its address.
    if (door !== 'envoy-http') expect(record['resource']).toEqual({ ...named, properties })
    if (one.error === undefined) expect(record['reasons']).toEqual(one.reasons)
    else expect(record['error']).toMatchObject({ code: one.error })
  })
})

let seen = 0

/** Exactly one record has come since the last question. */
async function newestRecord(): Promise<Record<string, unknown>> {
  for (let i = 0; i < 100; i++) {
    const records = readRecords(join(service.state, 'decisions'))
    if (records.length > seen) {
      expect(records).toHaveLength(++seen)
      return records.at(-1) as Record<string, unknown>
    }
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
  throw new Error('no record came')
}
