// Hostile JSON against each door that takes some: what is wrong, and the code that each case must get.

import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, test } from '@jest/globals'
import { listSegments } from '../../src/audit/log-files.ts'
import { call, grpcClient } from '../support/grpc.ts'
import { rawDecide, rawRequest } from '../support/raw-http.ts'
import { question, startTestService, type TestService } from '../support/service.ts'

const policy = {
  'p.rego':
    'package p\n\n# METADATA\n# entrypoint: true\ndecision := {"allow": input.subject.id == "alice", "context": {"got": object.get(input, "context", null)}}\n',
}
const limits = { 'requests.maxDepth': 32, 'requests.maxMembers': 5_000, 'requests.maxBatchSize': 10 }
let service: TestService

beforeAll(async () => {
  service = await startTestService(policy, limits)
})

const withContext = (context: string) =>
  `{"subject":{"type":"user","id":"alice"},"action":{"name":"read"},"resource":{"type":"doc","id":"1"},"context":${context}}`
const withSubject = (subject: string) => `{"subject":${subject},"action":{"name":"read"},"resource":{"type":"doc","id":"1"}}`

const cases: [string, number, string, string][] = [
  ['C1 a duplicate key', 400, 'ERR_DUPLICATE_KEY', withContext('{"role":"user","role":"admin"}')],
  ['C1 a duplicate behind an escape', 400, 'ERR_DUPLICATE_KEY', withContext('{"role":"user","r\\u006fle":"admin"}')],
  ['C1 a duplicate subject', 400, 'ERR_DUPLICATE_KEY', `{"subject":{"type":"user","id":"bob"},${withContext('{}').slice(1)}`],
  ['C2 __proto__', 400, 'ERR_FORBIDDEN_KEY', withContext('{"a":[{"__proto__":{"polluted":true}}]}')],
  ['C2 constructor.prototype', 400, 'ERR_FORBIDDEN_KEY', withContext('{"constructor":{"prototype":{"polluted":true}}}')],
  ['C2 toString', 400, 'ERR_FORBIDDEN_KEY', withContext('{"toString":1}')],
  [
    'C2 prototype keys among properties',
    400,
    'ERR_FORBIDDEN_KEY',
    withSubject('{"type":"user","id":"alice","properties":{"__proto__":{}}}'),
  ],
  ['C3 a lone surrogate', 400, 'ERR_INVALID_UTF8', withContext('{"a":"\\ud800"}')],
  ['C3 a byte order mark', 400, 'ERR_INVALID_JSON', `\ufeff${withContext('{}')}`],
  ['C4 1,001 digits', 400, 'ERR_UNSAFE_NUMBER', withContext(`{"n":${'9'.repeat(1_001)}}`)],
  ['C4 an exponent of 1,001', 400, 'ERR_UNSAFE_NUMBER', withContext('{"n":1e1001}')],
  ['C5 100,000 brackets', 400, 'ERR_TOO_DEEP', '['.repeat(100_000)],
  ['C5 33 levels', 400, 'ERR_TOO_DEEP', withContext(`${'{"a":'.repeat(32)}1${'}'.repeat(32)}`)],
  ['C6 too many members', 400, 'ERR_TOO_MANY_MEMBERS', withContext(`{${Array.from({ length: 5_001 }, (_, i) => `"k${i}":1`)}}`)],
  ['C6 too many elements', 400, 'ERR_TOO_MANY_MEMBERS', withContext(`{"a":[${'0,'.repeat(5_001)}0]}`)],
  ['C6 a string of 10 MB', 413, 'ERR_BODY_TOO_LARGE', withContext(`{"a":"${'x'.repeat(10_000_000)}"}`)],
  ['C7 a full-width letter', 400, 'ERR_INVALID_IDENTIFIER', withSubject('{"type":"user","id":"\uff41lice"}')],
  ['C7 a zero-width space', 400, 'ERR_INVALID_IDENTIFIER', withSubject('{"type":"user","id":"ali\u200bce"}')],
  ['C7 a homoglyph', 400, 'ERR_INVALID_IDENTIFIER', withSubject('{"type":"user","id":"\u0430lice"}')],
  ['C7 right to left', 400, 'ERR_INVALID_IDENTIFIER', withSubject('{"type":"user","id":"\u202ealice"}')],
  ['C7 a decomposed letter', 400, 'ERR_INVALID_IDENTIFIER', withSubject('{"type":"user","id":"e\u0301"}')],
  ['C7 a control character', 400, 'ERR_INVALID_IDENTIFIER', withSubject('{"type":"user","id":"alice\\u0000"}')],
  ['C8 NaN', 400, 'ERR_INVALID_JSON', withContext('{"a":NaN}')],
  ['C8 Infinity', 400, 'ERR_INVALID_JSON', withContext('{"a":-Infinity}')],
  ['C8 a comment', 400, 'ERR_INVALID_JSON', withContext('{/**/}')],
  ['C8 a trailing comma', 400, 'ERR_INVALID_JSON', withContext('{"a":1,}')],
  ['C8 single quotes', 400, 'ERR_INVALID_JSON', withContext("{'a':1}")],
  ['C8 two values', 400, 'ERR_INVALID_JSON', `${withContext('{}')}{}`],
  ['C9 an array', 400, 'ERR_INVALID_REQUEST', '[]'],
  ['C9 a string', 400, 'ERR_INVALID_REQUEST', '"x"'],
  ['C9 null', 400, 'ERR_INVALID_REQUEST', 'null'],
  ['C10 nothing in it', 400, 'ERR_INVALID_REQUEST', '{}'],
  ['C10 no subject', 400, 'ERR_INVALID_REQUEST', '{"action":{"name":"read"},"resource":{"type":"doc","id":"1"}}'],
  ['C10 a subject that is text', 400, 'ERR_INVALID_REQUEST', withSubject('"alice"')],
  ['C10 no type', 400, 'ERR_INVALID_REQUEST', withSubject('{"id":"alice"}')],
  ['C10 no id', 400, 'ERR_INVALID_REQUEST', withSubject('{"type":"user"}')],
  ['C10 an id that is a number', 400, 'ERR_INVALID_REQUEST', withSubject('{"type":"user","id":5}')],
  ['C10 an empty id', 400, 'ERR_INVALID_REQUEST', withSubject('{"type":"user","id":""}')],
  ['C10 an id that is null', 400, 'ERR_INVALID_REQUEST', withSubject('{"type":"user","id":null}')],
  ['C10 an id in a list', 400, 'ERR_INVALID_REQUEST', withSubject('{"type":"user","id":["a"]}')],
  ['C10 properties that are a list', 400, 'ERR_INVALID_REQUEST', withSubject('{"type":"user","id":"a","properties":[]}')],
  [
    'C10 a name that is a number',
    400,
    'ERR_INVALID_REQUEST',
    '{"subject":{"type":"u","id":"a"},"action":{"name":123},"resource":{"type":"d","id":"1"}}',
  ],
  ['C10 a context that is text', 400, 'ERR_INVALID_REQUEST', withContext('"x"')],
  ['C11 too large a batch', 413, 'ERR_BATCH_TOO_LARGE', `{"evaluations":[${Array(11).fill('{}')}]}`],
  ['a policy that is no name', 400, 'ERR_INVALID_REQUEST', `{"policy":"../x",${withContext('{}').slice(1)}`],
  ['a bundle that is not there', 404, 'ERR_UNKNOWN_BUNDLE', `{"policy":"other",${withContext('{}').slice(1)}`],
  [
    'A13 an entrypoint that is a query',
    404,
    'ERR_UNKNOWN_ENTRYPOINT',
    `{"policy":"main:p/decision\\"];input.x",${withContext('{}').slice(1)}`,
  ],
  ['an entrypoint of the prototype', 404, 'ERR_UNKNOWN_ENTRYPOINT', `{"policy":"main:__proto__",${withContext('{}').slice(1)}`],
]
/** Up to here the native door's own members have no part. */
const shared = cases.filter(([what]) => /^C\d/.test(what))

test.each(cases)('%s: %d %s', async (_what, status, code, body) => {
  const answer = await service.decide(body)
  expect([answer.status, answer.json.error?.code]).toEqual([status, code])
  expect(answer.json.error.correlation_id).toBe(answer.headers.get('x-request-id'))
})

/** What a door answered, of any shape. */
// biome-ignore lint/suspicious/noExplicitAny: tests look into answers of any shape
type Json = any

async function post(path: string, body: string): Promise<{ status: number; json: Json }> {
  const response = await fetch(`${service.url}${path}`, { method: 'POST', body, headers: { 'content-type': 'application/json' } })
  return { status: response.status, json: await response.json() }
}

describe.each(['/access/v1/evaluation', '/access/v1/evaluations', '/access/v1/search/action'])('%s', (path) => {
  // What is searched for is no part of the question, and one question is no batch.
  const apart = path.endsWith('action') ? /^C10 a name|^C10 nothing|^C11/ : path.endsWith('evaluation') ? /^C11/ : /^$/
  test.each(shared.filter(([what]) => !apart.test(what)))('%s: %d %s', async (_what, status, code, body) => {
    const answer = await post(path, body)
    expect([answer.status, answer.json.error.code]).toEqual([status, code])
  })
})

describe("OPA's API", () => {
  // An input may be anything that is JSON: keys and identifiers are the policy's own.
  const free = /^ERR_(?:FORBIDDEN_KEY|INVALID_IDENTIFIER|INVALID_REQUEST|BATCH_TOO_LARGE)$/
  test.each(shared)('%s as the input', async (_what, status, code, body) => {
    for (const [path, text] of [
      ['/v0/data/p/decision', body],
      ['/v1/data/p/decision', body.startsWith('\ufeff') ? body : `{"input":${body}}`],
    ] as const) {
      const answer = await post(path, text)
      // In v0 a decision that is undefined for the input is 404.
      if (free.test(code)) expect(path.startsWith('/v0') ? [200, 404] : [200]).toContain(answer.status)
      else expect([path, answer.status, answer.json.errors[0].code]).toEqual([path, status, code])
    }
  })
})

describe("a body that Envoy's ext_authz passes on", () => {
  const free = /^ERR_(?:FORBIDDEN_KEY|INVALID_IDENTIFIER|INVALID_REQUEST|BATCH_TOO_LARGE)$/
  test.each(shared)('%s', async (_what, _status, code, body) => {
    const http = {
      method: 'POST',
      path: '/x',
      host: 'h',
      scheme: 'http',
      headers: { 'content-type': 'application/json' },
      raw_body: Buffer.from(body),
    }
    const client = grpcClient(service.grpcAddress, 'envoy.service.auth.v3.Authorization')
    const { code: ended, message } = await call(client, 'Check', { attributes: { request: { http } } })
    const refused = code === 'ERR_BODY_TOO_LARGE' ? ended === 8 : message.denied_response.status.code === 400
    expect(refused).toBe(!free.test(code))
  })
})

describe('C3 bytes that are not UTF-8', () => {
  test.each([
    ['Latin-1', Buffer.from(withContext('{"a":"\u00e9"}'), 'latin1')],
    ['an overlong quote', Buffer.concat([Buffer.from('{"a":"'), Buffer.from([0xc0, 0xa2]), Buffer.from('"}')])],
    ['UTF-16', Buffer.from(withContext('{}'), 'utf16le')],
  ])('%s: 400', async (_what, bytes) => {
    const head = ['POST /v1/decide HTTP/1.1', 'Host: localhost', 'Content-Type: application/json', `Content-Length: ${bytes.length}`]
    const answer = await rawRequest(service.url, rawDecide(head, bytes))
    expect(answer.status).toBe(400)
    expect(JSON.parse(answer.body).error.code).toMatch(/^ERR_INVALID_(UTF8|JSON)$/)
  })
})

test('C4 odd numbers go through policy, answer and record with their text', async () => {
  const context = '{"a":9007199254740993,"b":1e400,"c":-0,"d":1.0,"e":123456789012345678901234567890.5}'
  const own = await startTestService(policy)
  const { text } = await own.decide(withContext(context))
  for (const number of ['9007199254740993', '1e400', '-0', '1.0', '123456789012345678901234567890.5']) expect(text).toContain(`:${number}`)
  await own.stop()
  const folder = `${own.state}/decisions`
  expect(readFileSync(`${folder}/${listSegments(folder)[0]}`, 'utf8')).toContain(`"context":${context}`)
})

test('C7 Unicode identifiers where they are configured: twins stay apart, disguises do not pass', async () => {
  const own = await startTestService(policy, { 'requests.identifiers': 'unicode' })
  expect((await own.decide(withSubject('{"type":"user","id":"Zoë"}'))).status).toBe(200)
  expect((await own.decide(withSubject('{"type":"user","id":"\u0430lice"}'))).json.decision).toBe(false)
  expect((await own.decide(withSubject('{"type":"user","id":"Zoe\u0308"}'))).json.error.code).toBe('ERR_INVALID_IDENTIFIER')
  expect((await own.decide(withSubject('{"type":"user","id":"ali\u200bce"}'))).json.error.code).toBe('ERR_INVALID_IDENTIFIER')
  await own.stop()
})

test('C10 unknown members are ignored', async () => {
  const answer = await service.decide({ ...question, extra: { deep: [1] }, subject: { ...question.subject, nick: 'x' } })
  expect([answer.status, answer.json.decision]).toEqual([200, true])
})

describe('C11 batches', () => {
  test('one bad item is denied with its error; the others, their number and their order stay', async () => {
    const bad = [{ subject: { type: 'user' } }, 5, null, { subject: { type: 'user', id: 'a\u0000' } }]
    const answer = await service.decide({ ...question, evaluations: [{}, ...bad, { subject: { type: 'user', id: 'bob' } }, {}] })
    expect(answer.status).toBe(200)
    expect(answer.json.evaluations.map((e: { decision: boolean }) => e.decision)).toEqual([true, false, false, false, false, false, true])
    expect(answer.json.evaluations.map((e: { context: { error?: { code: string } } }) => e.context.error?.code)).toEqual([
      undefined,
      'ERR_INVALID_REQUEST',
      'ERR_INVALID_REQUEST',
      'ERR_INVALID_REQUEST',
      'ERR_INVALID_IDENTIFIER',
      undefined,
      undefined,
    ])
  })

  test('no evaluations is one question', async () => {
    expect((await service.decide({ ...question, evaluations: [] })).json.decision).toBe(true)
  })
})

test('after all of this the service is right, and each record has its correlation ID', async () => {
  expect((await service.decide(question)).json.decision).toBe(true)
  const records = await service.stop()
  expect(records.length).toBeGreaterThan(0)
  expect(records.every((record) => record.correlation_id !== undefined)).toBe(true)
})
