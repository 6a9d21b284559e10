// The embedded mode against a service in this process: the same answers, made here where they may be, with their records in the service's
// log; nothing that the service would not say any longer.
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, afterEach, describe, expect, test } from '@jest/globals'
import { recordSchema } from '../../src/audit/record-schema.ts'
import { createClient, type Question } from '../../src/client/index.ts'
import { createEmbedded, type Embedded, type EmbeddedOptions } from '../../src/embedded/index.ts'
import { admin, archiveOf } from '../support/bundles.ts'
import { startTestService, type TestService } from '../support/service.ts'
import { until } from '../support/until.ts'

const opened: Embedded[] = []
/** Before the services go: what is told last has to have a log. */
const closeAll = () => Promise.all(opened.splice(0).map((one) => one.close()))
afterEach(closeAll)

const adminToken = ({ state }: TestService) => readFileSync(join(state, 'admin.token'), 'utf8').trim()

async function open(service: TestService, options: Partial<EmbeddedOptions> = {}): Promise<Embedded> {
  const embedded = await createEmbedded({ urls: [service.url], token: adminToken(service), bundles: [{ name: 'main' }], ...options })
  opened.push(embedded)
  return embedded
}

const ask = (id: string, more: Partial<Question> = {}): Question => ({
  subject: { type: 'user', id },
  action: { name: 'read' },
  resource: { type: 'doc', id: '1' },
  ...more,
})

const owned = (owner: string) => ({
  'p.rego': `package p

# METADATA
# entrypoint: true
decision := {"allow": allow, "reasons": ["by p"], "context": {"who": input.subject.id, "amount": input.context.amount}, "cache": {"max_age_ms": 60000}} if input.context.amount

else := {"allow": allow, "obligations": [{"id": "log"}]}

default allow := false

allow if input.subject.id == data.owner
`,
  'q.rego': `package q

# METADATA
# entrypoint: true
caller := input.trusted.caller.address == "127.0.0.1"

# METADATA
# entrypoint: true
fails := object.get(input, ["context", "items"], [])[_] == to_number(input.context.text)

# METADATA
# entrypoint: true
network := http.send({"method": "GET", "url": "http://127.0.0.1:1/"}).status_code == 200

# METADATA
# entrypoint: true
labels := opa.runtime().config.labels.here == "there"
`,
  'data.json': JSON.stringify({ owner }),
})
const entry = { policy: 'main:p/decision' }
const startOwned = (overrides = {}) => startTestService(owned('ann'), { labels: { here: 'there' }, ...overrides })

/** So many levels of objects. */
const nested = (levels: number): Record<string, unknown> => (levels === 1 ? {} : { a: nested(levels - 1) })

describe('answers are those of the service', () => {
  test.each([
    ['allowed', ask('ann'), entry, true],
    ['denied', ask('bob'), entry, true],
    ['with reasons and context', ask('ann', { context: { amount: 12.5, note: 'a\u2028b "c"' } }), entry, true],
    ['by a fact of the caller', ask('ann'), { policy: 'main:q/caller' }, true],
    ['where the policy has no value', ask('ann'), { policy: 'main:q/fails' }, true],
    ['properties', ask('ann', { subject: { type: 'user', id: 'ann', properties: { deep: [{ a: [1, 'x'] }] } } }), entry, true],
    ['an entrypoint with the network', ask('ann'), { policy: 'main:q/network' }, false],
    ['an entrypoint with labels', ask('ann'), { policy: 'main:q/labels' }, false],
    ['an unknown entrypoint', ask('ann'), { policy: 'main:p/nothing' }, false],
    ['an unknown bundle', ask('ann'), { policy: 'other:p/decision' }, false],
    ['no entrypoint', ask('ann'), {}, false],
    ['a token of the subject', ask('ann'), { ...entry, token: 'of-whom' }, false],
    ['a later epoch', ask('ann'), { ...entry, minEpoch: 9 }, false],
    ['an identifier beyond ASCII', ask('änn'), entry, false],
    ['no identifier', ask(''), entry, false],
    ['a key of every object', ask('ann', { context: JSON.parse('{"__proto__": 1}') as Record<string, unknown> }), entry, false],
    ['a key of every object, further in', ask('ann', { context: { a: [{ toString: 1 }] } }), entry, false],
    ['as many levels as any service reads', ask('ann', { context: nested(31) }), entry, true],
    ['one level more', ask('ann', { context: nested(32) }), entry, false],
    ['many levels in a long text', ask('ann', { context: { a: nested(32), text: 'x'.repeat(2_000) } }), entry, false],
    ['what writes itself', ask('ann', { context: { at: new Date(5), who: { toJSON: () => 'x' } } }), entry, true],
    ['numbers that are written with an exponent', ask('ann', { context: { amount: 1e-7, most: 1e21 } }), entry, true],
    ['a lone surrogate', ask('ann', { context: { text: '\ud800' } }), entry, false],
    ['a long number', ask('ann', { context: { amount: 2 ** 70 } }), entry, true],
    ['a long input', ask('ann', { context: { text: 'x'.repeat(70_000) } }), entry, false],
  ])('%s', async (_name, question, call, isHere) => {
    const service = await started
    const embedded = await embeddedThere
    const client = createClient({ urls: [service.url] })
    const before = { ...embedded.counts }
    const [made, told] = [await embedded.decide(question, call), await client.decide(question, call)]
    expect({ ...made, id: '' }).toEqual({ ...told, id: '' })
    expect(embedded.counts.here - before.here).toBe(isHere ? 1 : 0)
    await client.close()
  })
  const started = startOwned()
  const embeddedThere = started
    .then((service) => open(service))
    .then((embedded) => opened.splice(opened.indexOf(embedded), 1)[0] as Embedded)
  afterAll(async () => (await embeddedThere).close())
})

test('each answer has its record in the log of the service, of whoever made it', async () => {
  const service = await startOwned({ 'decisionLog.mask': ['/input/context/secret'] })
  const embedded = await open(service, { cacheBytes: 0 })
  const call = { ...entry, correlationId: 'c-1', traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01` }
  const answers = await embedded.decideMany([ask('ann', { context: { secret: 's3', amount: 1 } }), ask('bob')], call)
  const other = await embedded.decide(ask('ann'), { policy: 'main:q/fails' })
  expect(embedded.counts).toEqual({ here: 3, service: 0 })
  await embedded.close()
  const records = await service.stop()
  expect(records.map(({ id }) => id)).toEqual([...answers, other].map(({ id }) => id))
  for (const record of records) expect(recordSchema.strict().safeParse(record).error).toBeUndefined()
  expect(records[0]).toMatchObject({
    seq: 1,
    shard: '0',
    door: 'embedded',
    correlation_id: 'c-1',
    trace_id: 'a'.repeat(32),
    caller: { address: '127.0.0.1', authenticated: true, id: 'token:admin' },
    subject: { type: 'user', id: 'ann' },
    input: { context: { secret: null, amount: 1 } },
    decision: true,
    reasons: ['by p'],
    labels: { here: 'there' },
    replayable: 'masked',
    policy: { bundle: 'main', entrypoint: 'p/decision', epoch: 1 },
  })
  expect(records[1]).toMatchObject({ seq: 2, decision: false })
})

describe('what has changed at the service', () => {
  test('a subject that is isolated is answered by the service, also when that was before', async () => {
    const service = await startOwned()
    const early = await open(service)
    expect((await early.decide(ask('ann'), entry)).decision).toBe(true)
    await admin(service, 'POST', '/v1/revocations', { kind: 'subject', value: 'ann', reason: 'stolen' })
    await until(250, async () => (await early.decide(ask('ann'), entry)).context.error?.code === 'ERR_REVOKED')
    const late = await open(service)
    expect((await late.decide(ask('ann'), entry)).context.error?.code).toBe('ERR_REVOKED')
    expect(late.counts).toEqual({ here: 0, service: 1 })
    expect((await late.decide(ask('bob'), entry)).decision).toBe(false)
    expect(late.counts).toEqual({ here: 1, service: 1 })
  })

  test('a new revision answers, and with its epoch; a change of data, too', async () => {
    const service = await startTestService(undefined, { bundles: [{ name: 'main', gate: { maxFlips: 1_000 } }] })
    await admin(service, 'PUT', '/v1/bundles/main', await archiveOf(owned('ann')))
    const embedded = await open(service)
    expect(await embedded.decide(ask('ann'), entry)).toMatchObject({ decision: true, policy: { epoch: 1 } })
    await admin(service, 'PUT', '/v1/bundles/main', await archiveOf(owned('bob')))
    await until(500, async () => !(await embedded.decide(ask('ann'), entry)).decision)
    expect(await embedded.decide(ask('bob'), { ...entry, minEpoch: 2 })).toMatchObject({ decision: true, policy: { epoch: 2 } })
    expect(embedded.counts.service).toBe(0)
  })

  test('nothing is decided here when the service is silent for longer than the bound', async () => {
    const service = await startOwned()
    const errors: Error[] = []
    const embedded = await open(service, { boundMs: 2_000, timeoutMs: 200, onError: (error) => errors.push(error) })
    expect((await embedded.decide(ask('ann'), entry)).decision).toBe(true)
    await sleep(200)
    await service.stop()
    const stopped = performance.now()
    let lastAllow = 0
    while (performance.now() - stopped < 3_000) {
      if ((await embedded.decide(ask('ann'), entry)).decision) lastAllow = performance.now() - stopped
      await sleep(20)
    }
    expect(lastAllow).toBeLessThan(2_000)
    expect((await embedded.decide(ask('ann'), entry)).context.error?.code).toMatch(/^ERR_CLIENT_/)
    // What was decided meanwhile could not be told.
    expect(errors.map(({ message }) => message).join()).toContain('cannot be told to the service')
  })
})

describe('what is not to be trusted', () => {
  test('a bundle without the signature that it must have', async () => {
    const service = await startOwned()
    const errors: Error[] = []
    const embedded = await open(service, {
      bundles: [{ name: 'main', signature: { required: true } }],
      readyMs: 300,
      onError: (error) => errors.push(error),
    })
    expect((await embedded.decide(ask('ann'), entry)).decision).toBe(true)
    expect(embedded.counts).toEqual({ here: 0, service: 1 })
    expect(errors[0]?.message).toContain('not signed')
  })

  test('without the role nothing is decided here, and nothing lost', async () => {
    const service = await startOwned()
    const embedded = await open(service, { token: 'of-nobody', readyMs: 300 })
    expect((await embedded.decide(ask('ann'), entry)).decision).toBe(true)
    expect(embedded.counts).toEqual({ here: 0, service: 1 })
  })

  test('while the service refuses the records, it decides; and when it takes them again, they all are there', async () => {
    const service = await startOwned()
    let isRefusing = false
    const fetchAs: typeof fetch = async (url, init) =>
      isRefusing && String(url).endsWith('/v1/records') ? new Response('{}', { status: 403 }) : fetch(url, init)
    const embedded = await open(service, { fetch: fetchAs })
    isRefusing = true
    const made = [await embedded.decide(ask('ann'), entry)]
    const until = async (isHere: boolean) => {
      for (let left = 200; left > 0; left--) {
        const { here } = embedded.counts
        made.push(await embedded.decide(ask(`u${left}`), entry))
        if (embedded.counts.here > here === isHere) return
        await sleep(50)
      }
      throw new Error('it did not come to be')
    }
    await until(false)
    isRefusing = false
    await until(true)
    await embedded.close()
    const recorded = new Set((await service.stop()).map(({ id }) => id))
    expect(made.filter(({ id }) => !recorded.has(id))).toEqual([])
  }, 30_000)

  test.each([
    ['no record', '{}'],
    ['no JSON', 'x'],
    ['an outcome of its own', JSON.stringify({ ...record(), outcome: 'maybe' })],
    ['an error without one', JSON.stringify({ ...record(), outcome: 'error' })],
    ['twice the same member', JSON.stringify(record()).replace('{', '{"id":"x",')],
    ['too deep', JSON.stringify({ ...record(), input: JSON.parse(`${'{"a":'.repeat(70)}1${'}'.repeat(70)}`) as object })],
    ['one good, one bad', `${JSON.stringify(record())}\n{}`],
    ['nothing', '\n'],
  ])('records that are none: %s', async (_name, body) => {
    const service = await refusing
    const answer = await fetch(`${service.url}/v1/records`, {
      method: 'POST',
      headers: { authorization: `Bearer ${adminToken(service)}`, 'content-type': 'application/x-ndjson' },
      body,
    })
    expect(answer.status).toBe(400)
  })
  const refusing = startOwned()
  afterAll(async () => expect(await (await refusing).stop()).toEqual([]))

  function record() {
    const policy = { bundle: 'main', entrypoint: 'p/decision', revision: '', digest: 'sha256:0', epoch: 1 }
    return {
      id: '01890000-0000-4000-8000-000000000000',
      time: 1_790_000_000_000,
      correlation_id: 'c',
      input: {},
      policy,
      outcome: 'allow',
      cached: false,
      steps: 1,
      duration_us: 1,
    }
  }
})

test.each([
  ['a bound that is too short', { boundMs: 100 }],
  ['a bundle that has no name', { bundles: [{ name: '../x' }] }],
  ['a key that is not there', { keys: [{ id: 'k', algorithm: 'ES256', file: '/nowhere' }] }],
  ['several signers', { bundles: [{ name: 'main', signature: { threshold: 2 } }] }],
  ['no service', { urls: [] }],
])('options that cannot be used: %s', async (_name, options) => {
  await expect(createEmbedded({ urls: ['http://127.0.0.1:1'], bundles: [{ name: 'main' }], ...options })).rejects.toThrow()
})
