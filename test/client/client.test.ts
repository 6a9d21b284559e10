// The thin client against a real service, and against servers that do everything else: what it asks, what it answers, and that every
// doubt is a deny.
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo, Server } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { createClient, type Question } from '../../src/client/index.ts'
import { startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const policy = {
  'p.rego': `package p

# METADATA
# entrypoint: true
decision := {"allow": input.subject.id == "alice", "reasons": [input.subject.id], "context": {"n": input.context.n}}

# METADATA
# entrypoint: true
other := true
`,
}
const files = tempFolder({ token: 'a-token-of-the-client-0123456789' })
const token = 'a-token-of-the-client-0123456789'
let service: TestService
beforeAll(async () => {
  service = await startTestService(undefined, {
    bundles: [{ name: 'main', path: tempFolder(policy), defaultEntrypoint: 'p/decision' }],
    'authentication.callers': [{ id: 'client', tokenFile: `${files}/token`, roles: ['decide'] }],
  })
})
const servers: Server[] = []
afterAll(() => {
  for (const server of servers) server.close()
})

const ask = (id: string, n = 0): Question => ({
  subject: { type: 'user', id },
  action: { name: 'read' },
  resource: { type: 'doc', id: '1' },
  context: { n },
})
const answer = (decision: unknown = true) => ({ decision, id: 'x', context: {}, cache: { max_age_ms: 0 } })

/** A server that answers as it is told, and what it was asked. */
async function stub(reply: (response: ServerResponse, body: { evaluations?: unknown[] }, request: IncomingMessage) => void) {
  const asked: { body: { evaluations?: unknown[] }; headers: IncomingMessage['headers'] }[] = []
  const server = createServer(async (request, response) => {
    let text = ''
    for await (const part of request) text += part
    const body = JSON.parse(text)
    asked.push({ body, headers: request.headers })
    reply(response, body, request)
  }).listen(0, '127.0.0.1')
  servers.push(server)
  await new Promise((resolve) => server.once('listening', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked, server }
}
/** Byte after byte, a pause between; without one, the whole again and again. */
function drip(response: ServerResponse, text: string, pauseMs: number): void {
  let at = 0
  const timer = setInterval(() => {
    if (response.destroyed || at >= text.length) clearInterval(timer)
    else response.write(pauseMs === 0 ? text : text.charAt(at++))
  }, pauseMs)
  response.on('close', () => clearInterval(timer))
}
const good = (response: ServerResponse, { evaluations }: { evaluations?: unknown[] }) =>
  void response.end(JSON.stringify(evaluations === undefined ? answer() : { evaluations: evaluations.map(() => answer()) }))

describe('with a service', () => {
  test('asks, in their order, as many as there are, in few requests', async () => {
    const client = createClient({ urls: [service.url], token })
    const one = await client.decide(ask('alice'))
    expect(one).toMatchObject({ decision: true, context: { reasons: ['alice'] }, policy: { entrypoint: 'p/decision', epoch: 1 } })
    expect((await client.decide(ask('bob'))).decision).toBe(false)
    const many = await client.decideMany(Array.from({ length: 250 }, (_, i) => ask(i % 2 === 0 ? 'alice' : 'bob', i)))
    expect(many.map(({ decision, context }) => [decision, context.n])).toEqual(Array.from({ length: 250 }, (_, i) => [i % 2 === 0, i]))
    expect((await client.decide(ask('bob'), { policy: 'main:p/other' })).decision).toBe(true)
    await client.close()
  })

  test('a bad question among others has its own answer; a bad token and a bad policy have the service’s words', async () => {
    const client = createClient({ urls: [service.url], token: async () => token })
    const [first, bad, last] = await client.decideMany([ask('alice'), { ...ask('alice'), subject: { type: 'user', id: '' } }, ask('alice')])
    expect([first?.decision, bad?.decision, bad?.context.error?.code, last?.decision]).toEqual([true, false, 'ERR_INVALID_REQUEST', true])
    expect((await client.decide(ask('alice'), { policy: 'main:p/none' })).context.error?.code).toBe('ERR_UNKNOWN_ENTRYPOINT')
    const stranger = createClient({ urls: [service.url], token: 'wrong' })
    expect((await stranger.decide(ask('alice'))).context.error?.code).toBe('ERR_UNAUTHENTICATED')
    expect((await client.decide(ask('alice'), { minEpoch: 9 })).context.error?.code).toBe('ERR_STALE_EPOCH')
  })

  test('correlation and trace go with the question', async () => {
    const client = createClient({ urls: [service.url], token })
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const { id } = await client.decide(ask('alice'), { correlationId: 'order-7', traceparent })
    await sleep(200)
    const { readRecords } = await import('../support/service.ts')
    const record = readRecords(`${service.state}/decisions`).find((one) => one.id === id)
    expect(record).toMatchObject({ correlation_id: 'order-7', trace_id: '0af7651916cd43dd8448eb211c80319c' })
  })
})

describe('calls share a request', () => {
  test('those of one turn, and those that wait while others are under way; not those of other demands', async () => {
    const { url, asked } = await stub((response, body) => void setTimeout(() => good(response, body), 30))
    const client = createClient({ urls: [url], maxBatch: 3, maxRequests: 2 })
    await Promise.all([
      ...Array.from({ length: 7 }, () => client.decide(ask('a'))),
      client.decide(ask('a'), { policy: 'other' }),
      client.decide(ask('a'), { correlationId: 'c' }),
      client.decide(ask('a'), { token: 't' }),
    ])
    expect(asked.map(({ body }) => body.evaluations?.length ?? 1).sort()).toEqual([1, 1, 1, 1, 3, 3])
    expect(asked.filter(({ body }) => 'policy' in body)).toHaveLength(1)
    expect(asked.filter(({ headers }) => headers['x-request-id'] === 'c')).toHaveLength(1)
  })

  test('none where that is asked for', async () => {
    const { url, asked } = await stub(good)
    const client = createClient({ urls: [url], maxBatch: 1 })
    await client.decideMany([ask('a'), ask('b')])
    expect(asked.map(({ body }) => body.evaluations)).toEqual([undefined, undefined])
  })
})

describe('a doubt is a deny', () => {
  test.each<[string, (response: ServerResponse) => void, string | RegExp]>([
    ['decision is no boolean', (r) => void r.end(JSON.stringify(answer('true'))), 'ERR_CLIENT_UNREACHABLE'],
    ['decision is 1', (r) => void r.end(JSON.stringify(answer(1))), 'ERR_CLIENT_UNREACHABLE'],
    ['no JSON', (r) => void r.end('true'), 'ERR_CLIENT_UNREACHABLE'],
    ['half of it', (r) => void r.end('{"decision":true'), 'ERR_CLIENT_UNREACHABLE'],
    ['a list', (r) => void r.end(JSON.stringify([answer()])), 'ERR_CLIENT_UNREACHABLE'],
    ['a redirect', (r) => void r.writeHead(307, { location: 'http://127.0.0.1:1/' }).end(), 'ERR_CLIENT_REFUSED'],
    ['201', (r) => void r.writeHead(201).end(JSON.stringify(answer())), 'ERR_CLIENT_REFUSED'],
    ['403 of a proxy', (r) => void r.writeHead(403).end('<html>'), 'ERR_CLIENT_REFUSED'],
    ['500 with an allow', (r) => void r.writeHead(500).end(JSON.stringify(answer())), 'ERR_CLIENT_UNREACHABLE'],
    ['a broken connection', (r) => void r.destroy(), 'ERR_CLIENT_UNREACHABLE'],
    ['nothing', () => {}, 'ERR_CLIENT_TIMEOUT'],
    ['404', (r) => void r.writeHead(404).end(), 'ERR_CLIENT_REFUSED'],
    ['503 with a time to wait', (r) => void r.writeHead(503, { 'retry-after': '1' }).end(), 'ERR_CLIENT_UNREACHABLE'],
    ['an allow, one byte after the other', (r) => drip(r, JSON.stringify(answer()), 20), 'ERR_CLIENT_TIMEOUT'],
    ['no end', (r) => drip(r, ' '.repeat(1024 * 1024), 0), /^ERR_CLIENT_(?:UNREACHABLE|TIMEOUT)$/],
    ['a head and nothing more', (r) => void r.writeHead(200).write(' '), 'ERR_CLIENT_TIMEOUT'],
  ])('%s', async (_what, reply, code) => {
    const { url } = await stub(reply)
    const client = createClient({ urls: [url], timeoutMs: 200 })
    const began = performance.now()
    const { decision, context, id } = await client.decide(ask('alice'))
    expect([decision, id]).toEqual([false, ''])
    expect(context.error?.code).toMatch(code)
    expect(performance.now() - began).toBeLessThan(1_000)
    const throwing = createClient({ urls: [url], timeoutMs: 100, onUnavailable: 'throw' })
    await expect(throwing.decide(ask('alice'))).rejects.toMatchObject({ name: 'UnavailableError', code: expect.stringMatching(code) })
  })

  test.each([
    ['fewer answers than questions', (n: number) => n - 1],
    ['more', (n: number) => n + 1],
  ])('%s', async (_what, count) => {
    const { url } = await stub(
      (response, { evaluations = [] }) =>
        void response.end(JSON.stringify({ evaluations: Array.from({ length: count(evaluations.length) }, () => answer()) })),
    )
    const answers = await createClient({ urls: [url], timeoutMs: 200 }).decideMany([ask('a'), ask('b')])
    expect(answers.map(({ decision }) => decision)).toEqual([false, false])
  })

  test('a question that cannot be written, a token that cannot be had, a signal that is over, a client that is closed', async () => {
    const { url, asked } = await stub((response, body) => void setTimeout(() => good(response, body), 100))
    const circular: { self?: unknown } = {}
    circular.self = circular
    const client = createClient({ urls: [url] })
    expect((await client.decide({ ...ask('a'), context: circular })).context.error?.code).toBe('ERR_CLIENT_FAILED')
    const tokenless = createClient({ urls: [url], timeoutMs: 100, token: () => Promise.reject(new Error('no')) })
    expect((await tokenless.decide(ask('a'))).decision).toBe(false)
    expect((await client.decide(ask('a'), { signal: AbortSignal.abort() })).context.error?.code).toBe('ERR_CLIENT_ABORTED')
    const abort = new AbortController()
    const aborted = client.decide(ask('a'), { signal: abort.signal })
    const closed = client.decide(ask('b'))
    await sleep(20)
    abort.abort()
    expect((await aborted).context.error?.code).toBe('ERR_CLIENT_ABORTED')
    await client.close()
    expect([(await closed).context.error?.code, (await client.decide(ask('a'))).context.error?.code]).toEqual([
      'ERR_CLIENT_CLOSED',
      'ERR_CLIENT_CLOSED',
    ])
    expect(asked.length).toBeLessThan(4)
  })
})

describe('when a service fails', () => {
  test('the next one answers, also where the first is gone, has trouble, or hangs', async () => {
    const second = await stub(good)
    const gone = await stub(good)
    gone.server.close()
    const troubled = await stub((response) => void response.writeHead(503).end())
    const hanging = await stub(() => {})
    for (const { url } of [gone, troubled, hanging]) {
      const client = createClient({ urls: [url, second.url], timeoutMs: 600, attemptMs: 150 })
      expect((await client.decide(ask('a'))).decision).toBe(true)
      const before = second.asked.length
      expect((await client.decide(ask('a'))).decision).toBe(true)
      // It stays where it was answered.
      expect(second.asked.length).toBe(before + 1)
    }
  })

  test('a refusal of the request is not asked for again', async () => {
    const first = await stub((response) => void response.writeHead(400).end('{"error":{"code":"ERR_INVALID_REQUEST","message":"m"}}'))
    const second = await stub(good)
    const client = createClient({ urls: [first.url, second.url] })
    expect((await client.decide(ask('a'))).context.error?.code).toBe('ERR_INVALID_REQUEST')
    expect(second.asked).toEqual([])
  })

  test('few requests are sent again, and a service that goes on failing is left alone and tried out again', async () => {
    let isBroken = true
    const { url, asked } = await stub((response, body) => (isBroken ? void response.writeHead(503).end() : good(response, body)))
    const client = createClient({ urls: [url], breaker: { failures: 100_000 } })
    for (let i = 0; i < 50; i++) await client.decide(ask('a'))
    // Ten were saved up, and one more for each ten that succeed: none did.
    expect(asked.length).toBe(60)
    const careful = createClient({ urls: [url], breaker: { failures: 5, openMs: 200 } })
    for (let i = 0; i < 20; i++) await careful.decide(ask('a'))
    expect(asked.length).toBe(65)
    expect((await careful.decide(ask('a'))).context.error?.code).toBe('ERR_CLIENT_CIRCUIT_OPEN')
    await sleep(220)
    // One tries it out, for all.
    const tried = await Promise.all(Array.from({ length: 5 }, (_, i) => careful.decide(ask('a'), { correlationId: `${i}` })))
    expect([asked.length, tried.every(({ decision }) => !decision)]).toEqual([66, true])
    isBroken = false
    await sleep(220)
    expect((await careful.decide(ask('a'))).decision).toBe(true)
    expect((await careful.decide(ask('a'))).decision).toBe(true)
  })

  test('a service that is killed and comes back: denies meanwhile, within their time, and answers again', async () => {
    const first = await startTestService(
      policy['p.rego'] === undefined ? undefined : { 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow := true\n' },
    )
    const { port } = new URL(first.url)
    const client = createClient({ urls: [first.url], timeoutMs: 300, breaker: { openMs: 100 } })
    expect((await client.decide(ask('a'))).decision).toBe(true)
    await first.stop()
    const denials = await client.decideMany(Array.from({ length: 20 }, () => ask('a')))
    expect(denials.every(({ decision }) => !decision)).toBe(true)
    const again = await startTestService(
      { 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow := true\n' },
      { 'server.port': Number(port) },
    )
    await sleep(150)
    expect((await client.decide(ask('a'))).decision).toBe(true)
    await again.stop()
  })
})

test.each([[{ urls: [] }], [{ urls: ['pdp.example'] }], [{ urls: ['http://a'], timeoutMs: 0 }], [{ urls: ['http://a'], maxBatch: 0 }]])(
  'options that cannot be used: %j',
  (options) => expect(() => createClient(options)).toThrow(TypeError),
)

test('it imports nothing, and is small', async () => {
  const { readdirSync, readFileSync } = await import('node:fs')
  const { stripTypeScriptTypes } = await import('node:module')
  const folder = new URL('../../src/client/', import.meta.url)
  const texts = readdirSync(folder)
    .filter((name) => name.endsWith('.ts'))
    .map((name) => readFileSync(new URL(name, folder), 'utf8'))
  const imports = texts.flatMap((text) => [...text.matchAll(/from '([^']+)'/g)].map(([, from]) => from))
  expect(imports.filter((from) => !from?.startsWith('./'))).toEqual([])
  expect(texts.join('\n')).not.toMatch(/\bprocess\.|\bBuffer\.|\brequire\(/)
  expect(gzipSync(texts.map((text) => stripTypeScriptTypes(text)).join('\n')).length).toBeLessThan(15_000)
})
