// Answers that the client keeps: given again while the service is heard and says nothing else, counted, and ended by whatever could
// make them wrong.
import { readFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, describe, expect, test } from '@jest/globals'
import { reuseRecordSchema } from '../../src/audit/record-schema.ts'
import { type Client, type ClientOptions, createClient, type Question } from '../../src/client/index.ts'
import { admin, archiveOf } from '../support/bundles.ts'
import { startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'
import { until } from '../support/until.ts'

const kept = (owner: string, ms = 60_000) => ({
  'p.rego': `package p\n\n# METADATA\n# entrypoint: true\ndecision := {"allow": input.subject.id == data.owner, "cache": {"max_age_ms": ${ms}}}\n`,
  'data.json': JSON.stringify({ owner }),
})
/** 100 is what holds on a quiet machine; the rest is for a busy one. */
const promptMs = 250
const clients: Client[] = []
const servers: Server[] = []
const open = (options: ClientOptions): Client => {
  const client = createClient({ keep: {}, ...options })
  clients.push(client)
  return client
}
afterEach(async () => {
  for (const client of clients.splice(0)) await client.close()
})
afterAll(() => {
  for (const server of servers) {
    server.closeAllConnections()
    server.close()
  }
})
const ask = (id: string): Question => ({ subject: { type: 'user', id }, action: { name: 'read' }, resource: { type: 'doc', id: '1' } })

/** Waits until the client hears the service, seen by an answer that is given again. */
async function heard(client: Client, id = 'ann'): Promise<void> {
  for (let left = 100; left > 0; left--) {
    const [first, second] = [await client.decide(ask(id)), await client.decide(ask(id))]
    if (first.id === second.id) return
    await sleep(20)
  }
  throw new Error('nothing is kept')
}

describe('with a service', () => {
  test('answers are given again, and each use is in the log', async () => {
    const service = await startTestService(kept('ann'))
    const client = open({ urls: [service.url] })
    await heard(client)
    const { id } = await client.decide(ask('ann'))
    for (let i = 0; i < 100; i++) expect(await client.decide(ask('ann'))).toMatchObject({ decision: true, id })
    expect((await client.decide(ask('bob'))).decision).toBe(false)
    await client.close()
    const records = await service.stop()
    const uses = records.filter(({ kind, of }) => kind === 'reuse' && of === id)
    const count = uses.reduce((sum, one) => sum + (one.count as number), 0)
    // Those of heard(), this one, and a hundred.
    expect(count).toBeGreaterThanOrEqual(102)
    expect(count).toBeLessThan(300)
    expect(uses[0]).toMatchObject({
      kind: 'reuse',
      of: id,
      shard: '0',
      caller: { address: '127.0.0.1' },
      first: expect.any(String),
      last: expect.any(String),
    })
    for (const one of uses) expect(reuseRecordSchema.strict().safeParse(one).error).toBeUndefined()
    expect(records.filter((one) => one.id === id)).toHaveLength(1)
  })

  test('a change of data, a push, a rollback, a revocation, a quarantine: known within 100 ms', async () => {
    const service = await startTestService(undefined, { bundles: [{ name: 'main', gate: { maxFlips: 1_000_000 } }] })
    const push = async (owner: string) =>
      expect((await admin(service, 'PUT', '/v1/bundles/main', await archiveOf(kept(owner)))).status).toBeLessThan(300)
    await push('ann')
    const client = open({ urls: [service.url] })
    const allowed = async (id: string) => (await client.decide(ask(id))).decision
    await heard(client)
    expect(await allowed('ann')).toBe(true)
    await push('bob')
    await until(promptMs, async () => !(await allowed('ann')) && (await allowed('bob')))
    await heard(client)
    const { epoch } = (await admin(service, 'GET', '/v1/info')).json.bundles[0]
    const authorization = `Bearer ${readFileSync(`${service.state}/admin.token`, 'utf8').trim()}`
    const headers = { authorization, 'content-type': 'application/json-patch+json', 'if-match': String(epoch) }
    const body = JSON.stringify([{ op: 'replace', path: '/owner', value: 'ann' }])
    const patched = await fetch(`${service.url}/v1/bundles/main/data`, { method: 'PATCH', headers, body })
    expect(patched.status).toBe(200)
    await until(promptMs, async () => (await allowed('ann')) && !(await allowed('bob')))
    await heard(client)
    const error = async (id: string) => (await client.decide(ask(id))).context.error?.code
    const { json } = await admin(service, 'POST', '/v1/revocations', { kind: 'subject', value: 'ann' })
    await until(promptMs, async () => (await error('ann')) === 'ERR_REVOKED')
    await admin(service, 'DELETE', `/v1/revocations/${json.id}`)
    expect(await allowed('ann')).toBe(true)
    await heard(client)
    await admin(service, 'POST', '/v1/quarantines', { kind: 'subject', value: 'ann' })
    await until(promptMs, async () => (await error('ann')) === 'ERR_QUARANTINED')
    await service.stop()
  })

  test('what the service does not declare is not kept; an epoch that is asked for is heeded', async () => {
    const service = await startTestService({ 'p.rego': 'package p\n\n# METADATA\n# entrypoint: true\nallow := true\n' })
    const client = open({ urls: [service.url] })
    await sleep(200)
    const ids = new Set([(await client.decide(ask('a'))).id, (await client.decide(ask('a'))).id])
    expect(ids.size).toBe(2)
    await service.stop()
    const declared = await startTestService(kept('ann'))
    const other = open({ urls: [declared.url] })
    await heard(other)
    expect((await other.decide(ask('ann'), { minEpoch: 1 })).decision).toBe(true)
    expect((await other.decide(ask('ann'), { minEpoch: 9 })).context.error?.code).toBe('ERR_STALE_EPOCH')
    await declared.stop()
  })

  test('a service that is gone: answers end within the bound, then all is denied', async () => {
    const service = await startTestService(kept('ann'))
    const client = open({ urls: [service.url], keep: { boundMs: 2_000 }, timeoutMs: 200 })
    await heard(client)
    await service.stop()
    const stoppedAt = performance.now()
    let last = 0
    while (performance.now() - stoppedAt < 3_000) {
      if ((await client.decide(ask('ann'))).decision) last = performance.now() - stoppedAt
      await sleep(20)
    }
    expect(last).toBeLessThan(2_000 + 100)
  })
})

describe('the stream of changes', () => {
  const events = async (service: TestService, headers: Record<string, string>, act: () => Promise<unknown>, ms = 300) => {
    const controller = new AbortController()
    const response = await fetch(`${service.url}/v1/changes`, { headers, signal: controller.signal })
    expect(response.headers.get('content-type')).toContain('text/event-stream')
    let text = ''
    const reading = (async () => {
      const decoder = new TextDecoder()
      for await (const part of response.body as unknown as AsyncIterable<Uint8Array>) text += decoder.decode(part)
    })().catch(() => {})
    await act()
    await sleep(ms)
    controller.abort()
    await reading
    return text
      .split('\n\n')
      .filter((event) => event.includes('event:'))
      .map(
        (event) =>
          Object.fromEntries(
            event.split('\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 2)]),
          ) as Record<'id' | 'event' | 'data', string>,
      )
  }

  test('names no subject, tells digests under its own key, goes on where it was, and starts anew where it cannot', async () => {
    const service = await startTestService(kept('ann'))
    const revoke = (value: string, kind = 'subject') => admin(service, 'POST', '/v1/revocations', { kind, value })
    const first = await events(service, {}, () => revoke('mallory'))
    const hello = JSON.parse(first[0]?.data ?? '')
    expect([first[0]?.event, hello.reset, hello.bundles]).toEqual(['hello', true, [{ bundle: 'main', epoch: 1 }]])
    const { createHmac } = await import('node:crypto')
    const digest = createHmac('sha256', Buffer.from(hello.key, 'base64url')).update('mallory').digest('base64url')
    expect(first.slice(1).map(({ event, data }) => [event, JSON.parse(data)])).toEqual([['isolated', { kind: 'subject', digest }]])
    expect(JSON.stringify(first)).not.toContain('mallory')
    await revoke('j', 'jti')
    const second = await events(service, { 'last-event-id': first[1]?.id as string }, async () => {})
    expect(JSON.parse(second[0]?.data ?? '').reset).toBe(false)
    expect(second.slice(1).map(({ event, data }) => [event, JSON.parse(data)])).toEqual([['isolated', { kind: 'token' }]])
    for (const id of ['x', `${'0'.repeat(36)}.1`, `${first[1]?.id.split('.')[0]}.999`, ''])
      expect(JSON.parse((await events(service, { 'last-event-id': id }, async () => {}, 50))[0]?.data ?? '').reset).toBe(true)
    await service.stop()
  })

  test('is for those who may ask', async () => {
    const files = tempFolder({ pep: 'a-token-of-the-pep-0123456789', ops: 'a-token-of-the-ops-0123456789' })
    const service = await startTestService(kept('ann'), {
      'authentication.callers': [
        { id: 'pep', tokenFile: `${files}/pep`, roles: ['decide'] },
        { id: 'ops', tokenFile: `${files}/ops`, roles: ['audit'] },
      ],
    })
    const get = async (token?: string) => {
      const response = await fetch(`${service.url}/v1/changes`, {
        headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
      })
      await response.body?.cancel()
      return response.status
    }
    expect([await get(), await get('a-token-of-the-ops-0123456789'), await get('a-token-of-the-pep-0123456789')]).toEqual([401, 403, 200])
    await service.stop()
  })

  test.each([
    ['no list', {}],
    ['an empty one', { reuses: [] }],
    ['an ID that is none', { reuses: [{ id: 'x', count: 1, first: 0, last: 0 }] }],
    ['a count below one', { reuses: [{ id: '855ab5e6-0000-4000-8000-000000000000', count: 0, first: 0, last: 0 }] }],
    ['a time that is none', { reuses: [{ id: '855ab5e6-0000-4000-8000-000000000000', count: 1, first: 1e300, last: 0 }] }],
  ])('uses with %s are refused', async (_what, body) => {
    const service = await startTestService(kept('ann'))
    const headers = { 'content-type': 'application/json' }
    expect((await fetch(`${service.url}/v1/reuses`, { method: 'POST', headers, body: JSON.stringify(body) })).status).toBe(400)
    await service.stop()
  })
})

/** A service that says what it is told to. */
describe('against a service that', () => {
  async function stub(answer: (n: number) => { body: object; before?: string } = () => ({ body: {} })) {
    const streams: ServerResponse[] = []
    const asked = {
      decisions: 0,
      reuses: [] as { id: string; count: number; first: number; last: number }[][],
      refusesReuses: false,
      lastIds: [] as unknown[],
    }
    const server = createServer(async (request: IncomingMessage, response) => {
      let text = ''
      for await (const part of request) text += part
      if (request.url === '/v1/changes') {
        asked.lastIds.push(request.headers['last-event-id'])
        streams.push(response)
        response.writeHead(200, { 'content-type': 'text/event-stream' })
        response.write(`id: i.${streams.length}\nevent: hello\ndata: {"reset":${streams.length === 1}}\n\n`)
      } else if (request.url === '/v1/reuses') {
        asked.reuses.push(JSON.parse(text).reuses)
        if (asked.refusesReuses) await sleep(200)
        response.writeHead(asked.refusesReuses ? 503 : 204).end()
      } else {
        const { body, before } = answer(++asked.decisions)
        if (before !== undefined) {
          streams.at(-1)?.write(before)
          await sleep(30)
        }
        response.end(
          JSON.stringify({
            decision: true,
            id: `855ab5e6-0000-4000-8000-${String(asked.decisions).padStart(12, '0')}`,
            context: {},
            cache: { max_age_ms: 60_000 },
            ...body,
          }),
        )
      }
    }).listen(0, '127.0.0.1')
    servers.push(server)
    await new Promise((resolve) => server.once('listening', resolve))
    const beat = setInterval(() => streams.at(-1)?.write(':\n\n'), 500)
    return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked, streams, stop: () => clearInterval(beat), server }
  }

  test('tells of a change while it answers: the answer is not kept', async () => {
    const { url, asked, stop } = await stub((n) => ({ body: {}, ...(n === 1 && { before: 'id: i.9\nevent: epoch\ndata: {}\n\n' }) }))
    const client = open({ urls: [url] })
    await sleep(100)
    for (let i = 0; i < 3; i++) await client.decide(ask('a'))
    expect(asked.decisions).toBe(2)
    stop()
  })

  test('falls silent: nothing is given again behind the bound, and what was kept is gone when it speaks again', async () => {
    const { url, asked, streams, stop } = await stub()
    const client = open({ urls: [url], keep: { boundMs: 2_000 } })
    await sleep(100)
    await client.decide(ask('a'))
    await client.decide(ask('a'))
    expect(asked.decisions).toBe(1)
    stop()
    await sleep(2_700)
    await client.decide(ask('a'))
    expect(asked.decisions).toBe(2)
    // It was asked for the stream again, with the last number that was known.
    expect(asked.lastIds).toEqual([undefined, 'i.1'])
    expect(streams.length).toBe(2)
  })

  test('answers for a while, an error, or for somebody else', async () => {
    const { url, asked, stop } = await stub((n) => ({
      body: n === 1 ? { cache: { max_age_ms: 100 } } : n === 3 ? { context: { error: { code: 'ERR_X', message: '' } } } : {},
    }))
    const client = open({ urls: [url] })
    await sleep(100)
    const first = await client.decide(ask('a'))
    const again = await client.decide(ask('a'))
    expect([first.id === again.id, again.cache.max_age_ms < 100]).toEqual([true, true])
    await sleep(110)
    await client.decide(ask('a'))
    expect(asked.decisions).toBe(2)
    // The third answer is an error, so a fourth is asked for.
    for (let i = 0; i < 3; i++) await client.decide(ask('b'))
    expect(asked.decisions).toBe(4)
    const [other, gone] = [await stub(), await stub()]
    const abroad = open({ urls: [gone.url, other.url], timeoutMs: 400 })
    await sleep(100)
    gone.server.closeAllConnections()
    gone.server.close()
    for (let i = 0; i < 3; i++) await abroad.decide(ask('a'))
    // Whose changes are not followed, whose answers are not kept.
    expect(other.asked.decisions).toBe(3)
    for (const one of [stop, other.stop, gone.stop]) one()
  })

  test('a clock on the wall that is put by an hour, either way, changes nothing', async () => {
    const { url, asked, stop } = await stub()
    const client = open({ urls: [url], keep: { boundMs: 2_000 } })
    await sleep(100)
    await client.decide(ask('ann'))
    const now = Date.now
    for (const step of [3_600_000, -3_600_000]) {
      Date.now = () => now() + step
      try {
        await client.decide(ask('ann'))
        expect(asked.decisions).toBe(1)
        await sleep(150)
        await client.decide(ask('ann'))
      } finally {
        Date.now = now
      }
    }
    expect(asked.decisions).toBe(1)
    stop()
  })

  test('keeps no more than it may, and tells of uses once', async () => {
    const { url, asked, stop } = await stub()
    const client = open({ urls: [url], keep: { maxAnswers: 10 } })
    await sleep(100)
    for (let i = 0; i < 30; i++) await client.decide(ask(`${i}`))
    for (let i = 20; i < 30; i++) await client.decide(ask(`${i}`))
    expect(asked.decisions).toBe(30)
    await client.decide(ask('0'))
    expect(asked.decisions).toBe(31)
    await sleep(1_200)
    expect(asked.reuses.flat().map(({ count }) => count)).toEqual(Array.from({ length: 10 }, () => 1))
    stop()
  })

  test('takes no uses for a while: they are told later, with those since', async () => {
    const { url, asked, stop } = await stub()
    asked.refusesReuses = true
    const client = open({ urls: [url] })
    await sleep(100)
    const began = Date.now()
    for (const id of ['a', 'a', 'a', 'a', 'b', 'b']) await client.decide(ask(id))
    await until(5_000, async () => asked.reuses.length === 1)
    // One while they are being refused, and one behind that.
    await client.decide(ask('a'))
    await sleep(400)
    for (const id of ['a', 'b']) await client.decide(ask(id))
    expect(asked.reuses.map((told) => told.map(({ count }) => count))).toEqual([[3, 1]])
    const again = Date.now()
    asked.refusesReuses = false
    await until(5_000, async () => asked.reuses.length === 2)
    expect(asked.reuses.map((told) => told.map(({ count }) => count))).toEqual([
      [3, 1],
      [5, 2],
    ])
    const { first, last } = asked.reuses.flat().at(-1) as { first: number; last: number }
    expect(first - began).toBeLessThan(500)
    expect(Math.abs(last - again)).toBeLessThan(200)
    await client.decide(ask('a'))
    await client.close()
    expect(asked.reuses.slice(2).flat()).toEqual([expect.objectContaining({ count: 1 })])
    stop()
  })

  test('is asked for one thing in many contexts: the newest of them are kept', async () => {
    const { url, asked, stop } = await stub()
    const client = open({ urls: [url] })
    await sleep(100)
    const from = async (ip: number) => client.decide({ ...ask('a'), context: { ip } })
    for (let i = 0; i < 40; i++) await from(i)
    for (let i = 8; i < 40; i++) await from(i)
    expect(asked.decisions).toBe(40)
    await from(7)
    await from(8)
    expect(asked.decisions).toBe(42)
    stop()
  })

  test('answers once for many: nobody changes what others get', async () => {
    const { url, asked, stop } = await stub(() => ({ body: { context: { obligations: [{ mask: ['name'] }] } } }))
    const client = open({ urls: [url] })
    await sleep(100)
    await client.decide(ask('a'))
    const { obligations } = (await client.decide(ask('a'))).context as { obligations: { mask: string[] }[] }
    expect(() => obligations[0]?.mask.pop()).toThrow(TypeError)
    expect(() => obligations.pop()).toThrow(TypeError)
    expect((await client.decide(ask('a'))).context.obligations).toEqual([{ mask: ['name'] }])
    expect(asked.decisions).toBe(1)
    stop()
  })
})

test('more uses than a service could be told of are not made', async () => {
  let asked = 0
  const say = (text: string) => new TextEncoder().encode(text)
  const fetch = async (url: string, { body }: { body?: string } = {}) => {
    if (url.endsWith('/v1/reuses')) return new Response(null, { status: 503 })
    if (url.endsWith('/v1/changes')) {
      const start = (controller: ReadableStreamDefaultController) =>
        controller.enqueue(say('id: i.1\nevent: hello\ndata: {"reset":true}\n\n'))
      return new Response(new ReadableStream({ start }))
    }
    const answer = () => ({ decision: true, id: `${asked++}`, context: {}, cache: { max_age_ms: 60_000 } })
    const { evaluations } = JSON.parse(body as string) as { evaluations: unknown[] }
    return Response.json({ evaluations: evaluations.map(answer) })
  }
  const client = open({
    urls: ['http://pdp.example'],
    keep: { maxAnswers: 20_000, boundMs: 60_000 },
    fetch: fetch as typeof globalThis.fetch,
  })
  await sleep(50)
  const questions = Array.from({ length: 10_100 }, (_, i) => ask(`${i}`))
  await client.decideMany(questions)
  const again = await client.decideMany(questions)
  expect(asked).toBe(10_200)
  expect(again.slice(0, 10_000).map(({ id }) => id)).toEqual(Array.from({ length: 10_000 }, (_, i) => `${i}`))
})

test('a bound that cannot be kept is refused', () =>
  expect(() => createClient({ urls: ['http://a'], keep: { boundMs: 500 } })).toThrow(TypeError))
