// Decisions that are given again: which, for how long, to whom, and what ends them.
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from '@jest/globals'
import { recordSchema } from '../../src/audit/record-schema.ts'
import type { Decision } from '../../src/decision/decision.ts'
import type { DecisionRequest } from '../../src/decision/request.ts'
import { type ActiveBundle, ActiveBundles, type Entrypoint } from '../../src/policy/active-bundles.ts'
import { type CacheRule, cacheRuleOf } from '../../src/policy/cache-rule.ts'
import { cached } from '../../src/policy/cached.ts'
import { DecisionStore } from '../../src/policy/decision-store.ts'
import { admin, archiveOf } from '../support/bundles.ts'
import { call, grpcClient } from '../support/grpc.ts'
import { question, startTestService, type TestService } from '../support/service.ts'
import { tempFolder } from '../support/temp-folder.ts'

const rule = (text: string, more = '') => ({ 'p.rego': `package p\n\n# METADATA\n# entrypoint: true\n${more}${text}\n` })
const annotated = (ms: number) => `# custom:\n#   cache:\n#     max_age_ms: ${ms}\n`
const records = async (service: TestService) =>
  (await service.stop()).map(({ cached, steps, decision }) => [cached, (steps as number) > 0, decision])
/** Whether the second of two questions is answered again. */
async function isGivenAgain(
  policy: Readonly<Record<string, string>>,
  second: object = question,
  more: Record<string, unknown> = {},
): Promise<boolean> {
  const service = await startTestService(policy, more)
  await service.decide(question)
  await service.decide(second)
  const said = await service.stop()
  for (const record of said) expect(recordSchema.strict().safeParse(record).error).toBeUndefined()
  return said[1]?.cached as boolean
}

describe('a decision', () => {
  const pure = rule('allow if input.subject.id == "alice"')

  test('is given again, recorded each time, with what each request brought', async () => {
    const service = await startTestService(rule('d := {"allow": input.subject.id == "alice", "context": {"id": input.subject.id}}'))
    const alice = { ...question, subject: { type: 'user', id: 'alice' } }
    const bob = { ...question, subject: { type: 'user', id: 'bob' } }
    const answers = [await service.decide(alice), await service.decide({ ...alice, context: { noise: 1 } }), await service.decide(bob)]
    expect(answers.map(({ json }) => [json.decision, json.context.id])).toEqual([
      [true, 'alice'],
      [true, 'alice'],
      [false, 'bob'],
    ])
    expect(new Set(answers.map(({ json }) => json.id)).size).toBe(3)
    expect((await admin(service, 'GET', '/v1/info')).json.cache).toMatchObject({ hits: 1, misses: 2, passed: 0, entries: 2 })
    const said = await service.stop()
    expect(said.map(({ cached, steps }) => [cached, (steps as number) > 0])).toEqual([
      [false, true],
      [true, false],
      [false, true],
    ])
    expect(said[1]).toMatchObject({ input: { context: { noise: 1 } } })
  })

  test.each<[string, Readonly<Record<string, string>>, object, boolean]>([
    ['beside what is not read', pure, { ...question, context: { id: 'x' }, resource: { type: 'other', id: '9' } }, true],
    ['of another subject', pure, { ...question, subject: { type: 'user', id: 'bob' } }, false],
    ['of a policy that reads all of its input', rule('allow if { some k; input[k] == 1 }'), question, false],
    ['of one that does, declared', rule('allow if { some k; input[k] == 1 }', annotated(60_000)), question, true],
    [
      'of one that does, declared, another input',
      rule('allow if { some k; input[k] == 1 }', annotated(60_000)),
      { ...question, context: {} },
      false,
    ],
    ['of a policy that reads the clock', rule('allow if time.now_ns() > 0'), question, false],
    ['of one that does, declared', rule('allow if time.now_ns() > 0', annotated(60_000)), question, true],
    ['of a policy that reads the time of the decision', rule('allow if input.trusted.time > 0'), question, false],
    ['of a policy that draws lots', rule('allow if rand.intn("x", 2) >= 0'), question, false],
    ['that is declared to be new each time', rule('allow if input.subject.id == "x"', annotated(0)), question, false],
    ['that says so itself', rule('d := {"allow": true, "cache": {"max_age_ms": 0}}'), question, false],
    ['that says it wrongly', rule('d := {"allow": true, "cache": {"max_age_ms": "10"}}'), question, false],
    ['that may', rule('d := {"allow": true, "cache": {"max_age_ms": 60000}}'), question, true],
    [
      'that failed',
      rule('allow if { some i in numbers.range(1, 100000); some j in numbers.range(1, 100000); input.n == i * j }'),
      question,
      false,
    ],
    ['with an explanation', pure, { ...question, explain: true }, false],
    [
      'of another entrypoint',
      { 'p.rego': `${pure['p.rego']}\n# METADATA\n# entrypoint: true\nother if input.subject.id == "alice"\n` },
      { ...question, policy: 'main:p/other' },
      false,
    ],
  ])('%s', async (_what, policy, second, expected) => {
    const first =
      Object.keys(policy).length === 1 && policy['p.rego']?.includes('other if')
        ? { bundles: [{ name: 'main', path: tempFolder(policy), defaultEntrypoint: 'p/allow' }] }
        : {}
    expect(await isGivenAgain(policy, second, first)).toBe(expected)
  })

  test('is not given again where that is configured', async () =>
    expect(await isGivenAgain(pure, question, { 'cache.enabled': false })).toBe(false))

  // grpc-js compresses by itself, which the direct way does not read: both ways answer.
  test.each([
    ['its message is read directly', {}],
    ['it comes by grpc-js', { 'grpc.default_compression_algorithm': 2 }],
  ])('says over gRPC, in a trailer too, for how long it may be kept, where %s', async (_how, options) => {
    const service = await startTestService(rule('d := {"allow": true, "cache": {"max_age_ms": input.context.ms}}'))
    const client = grpcClient(service.grpcAddress, 'verdict.v1.DecisionService', undefined, options)
    const { message, trailers } = await call(client, 'Decide', { ...question, context: { fields: { ms: { numberValue: 5_000 } } } })
    expect([Number(message.decision.max_age_ms), trailers]).toEqual([5_000, { 'verdict-max-age-ms': '5000' }])
    const none = await call(client, 'Decide', { ...question, context: { fields: { ms: { numberValue: 0 } } } })
    expect([none.code, none.trailers]).toEqual([0, {}])
    await service.stop()
  })

  test('ends with its time', async () => {
    const service = await startTestService(rule('d := {"allow": true, "cache": {"max_age_ms": 1000}}'))
    const ages = [(await service.decide(question)).json.cache.max_age_ms, (await service.decide(question)).json.cache.max_age_ms]
    await sleep(1_050)
    ages.push((await service.decide(question)).json.cache.max_age_ms)
    expect([ages[0], ages[1] < 1_000, ages[1] >= 0, ages[2]]).toEqual([1_000, true, true, 1_000])
    expect(await records(service)).toEqual([
      [false, true, true],
      [true, false, true],
      [false, true, true],
    ])
  })

  test('ends with a change of data, a push and a rollback: the first answer behind each is right', async () => {
    const policy = (owner: string) => ({ ...rule('allow if input.subject.id == data.owner'), 'data.json': JSON.stringify({ owner }) })
    const service = await startTestService(undefined, { bundles: [{ name: 'main', gate: { maxFlips: 1_000 } }] })
    const push = async (owner: string) =>
      expect((await admin(service, 'PUT', '/v1/bundles/main', await archiveOf(policy(owner)))).status).toBeLessThan(300)
    const said = async (id: string) => (await service.decide({ ...question, subject: { type: 'user', id } })).json.decision
    await push('ann')
    expect([await said('ann'), await said('ann'), await said('bob')]).toEqual([true, true, false])
    await push('bob')
    expect([await said('ann'), await said('bob')]).toEqual([false, true])
    const patch = [{ op: 'replace', path: '/owner', value: 'cat' }]
    const { epoch } = (await admin(service, 'GET', '/v1/info')).json.bundles[0]
    const authorization = `Bearer ${readFileSync(`${service.state}/admin.token`, 'utf8').trim()}`
    const headers = { authorization, 'content-type': 'application/json-patch+json', 'if-match': String(epoch) }
    const patched = await fetch(`${service.url}/v1/bundles/main/data`, { method: 'PATCH', headers, body: JSON.stringify(patch) })
    expect(patched.status).toBe(200)
    expect([await said('bob'), await said('cat'), await said('cat')]).toEqual([false, true, true])
    expect((await admin(service, 'POST', '/v1/bundles/main/rollback', {})).status).toBe(200)
    expect([await said('cat'), await said('bob')]).toEqual([false, true])
    await service.stop()
  })

  test('is nothing that a revocation or a quarantine waits for', async () => {
    const service = await startTestService(pure)
    const alice = { ...question, subject: { type: 'user', id: 'alice' } }
    const said = async () => (await service.decide(alice)).json.context.error?.code ?? 'allowed'
    const grpc = grpcClient(service.grpcAddress, 'verdict.v1.DecisionService')
    expect([await said(), await said()]).toEqual(['allowed', 'allowed'])
    const { json } = await admin(service, 'POST', '/v1/revocations', { kind: 'subject', value: 'alice' })
    expect([await said(), (await call(grpc, 'Decide', alice)).message.decision.error?.code]).toEqual(['ERR_REVOKED', 'ERR_REVOKED'])
    await admin(service, 'DELETE', `/v1/revocations/${json.id}`)
    expect(await said()).toBe('allowed')
    await service.stop()
  })

  test('is not what a quarantined caller gets, whose policy sees why', async () => {
    const service = await startTestService(rule('allow if not input.trusted.risk'))
    const read = { ...question, action: { name: 'read' } }
    expect((await service.decide(read)).json.decision).toBe(true)
    await admin(service, 'POST', '/v1/quarantines', { kind: 'subject', value: question.subject.id, allowed_actions: ['read'] })
    expect((await service.decide(read)).json.decision).toBe(false)
    await service.stop()
  })
})

test('whoever is under quarantine keeps no answer, also where the policy does not look at it', async () => {
  const service = await startTestService(rule('d := {"allow": true, "cache": {"max_age_ms": 60000}}'))
  const read = { ...question, action: { name: 'read' } }
  const age = async () => (await service.decide(read)).json.cache.max_age_ms
  expect(await age()).toBe(60_000)
  await admin(service, 'POST', '/v1/quarantines', { kind: 'subject', value: question.subject.id, allowed_actions: ['read'] })
  expect(await age()).toBe(0)
  await service.stop()
})

/** The decider by itself, over an engine that answers what it is told. */
describe('without a service', () => {
  const identity = (epoch: number) => ({ bundle: 'main', entrypoint: 'p/d', revision: '', digest: '', epoch })
  function setUp({ maxBytes = 1_000_000, reads = [['id']] as readonly (readonly string[])[] } = {}) {
    const clock = { now: 0 }
    const bundles = new ActiveBundles()
    const activate = (epoch: number) => {
      const cache = cacheRuleOf({ bundle: 'main', path: 'p/d', inputReads: reads, varies: false, declaredMs: undefined }, 'trusted')
      const entrypoint = {
        id: 0,
        identity: identity(epoch),
        readsTrusted: false,
        readsTime: false,
        usesNetwork: false,
        cache,
      } satisfies Entrypoint
      bundles.activate({
        name: 'main',
        epoch,
        refusedFromMs: Number.POSITIVE_INFINITY,
        entrypoints: new Map(),
        defaultEntrypoint: entrypoint,
      } as unknown as ActiveBundle)
    }
    activate(1)
    const engine = { asked: 0, answer: (_: DecisionRequest): Decision | Promise<Decision> => made('true') }
    const made = (result: string): Decision => ({
      outcome: 'allow',
      policy: bundles.resolve(undefined).defaultEntrypoint?.identity,
      result,
      maxAgeMs: 0,
      cached: false,
      steps: 1,
    })
    const inner = {
      decide(request: DecisionRequest) {
        engine.asked++
        return engine.answer(request)
      },
    }
    const store = new DecisionStore(maxBytes)
    const decider = cached(
      inner,
      bundles,
      { maxAgeMs: 60_000, maxAnswerMs: 60_000, store, now: () => clock.now },
      { hits: 0, misses: 0, passed: 0 },
    )
    const ask = (id: unknown, caller = 'c', more: Partial<DecisionRequest> = {}) =>
      decider.decide({
        door: 'x',
        correlationId: '',
        trace: undefined,
        caller: { authenticated: true, id: caller },
        timeMs: 0,
        input: JSON.stringify({ id }),
        subject: undefined,
        action: undefined,
        resource: undefined,
        ...more,
      })
    return { clock, engine, store, activate, ask, made }
  }

  test('those who ask the same while it is being found out wait for one answer; what began before an activation is not given behind it', async () => {
    const { engine, ask, made, activate } = setUp()
    const before = made('"old"')
    engine.answer = () => new Promise((resolve) => setTimeout(() => resolve(before), 20))
    const many = [ask(1), ask(1), ask(1, 'other'), ask(2)]
    activate(2)
    engine.answer = () => Promise.resolve(made('"new"'))
    expect(((await ask(1)) as Decision).result).toBe('"new"')
    expect((await Promise.all(many)).map(({ result, cached }) => [result, cached])).toEqual([
      ['"old"', false],
      ['"old"', true],
      ['"old"', true],
      ['"old"', false],
    ])
    // Three, since two asked for what was under way already: one, and one behind the activation, and two.
    expect([engine.asked, ((await ask(1)) as Decision).result, engine.asked]).toEqual([3, '"new"', 3])
  })

  test('a failure is told to all who wait, and not kept', async () => {
    const { engine, ask, made } = setUp()
    engine.answer = () => Promise.reject(new Error('away'))
    const failed = await Promise.allSettled([ask(1), ask(1)])
    expect(failed.map(({ status }) => status)).toEqual(['rejected', 'rejected'])
    engine.answer = () => made('true')
    expect(((await ask(1)) as Decision).cached).toBe(false)
  })

  test('no longer than a token lives, nor does its answer say so', () => {
    const { clock, engine, ask, made } = setUp()
    engine.answer = () => ({ ...made('true'), declaredAgeMs: 5_000 })
    const caller = { authenticated: true, id: 'c', expiresAtMs: 1_000 }
    expect((ask(1, 'c', { caller }) as Decision).maxAgeMs).toBe(1_000)
    clock.now = 999
    expect((ask(1) as Decision).cached).toBe(true)
    clock.now = 1_000
    expect((ask(1) as Decision).cached).toBe(false)
    const verified = { id: 's', authority: 'i', clientId: undefined, claims: '{}', expiresAtMs: 300 }
    expect((ask(1, 'c', { verified }) as Decision).maxAgeMs).toBe(300)
  })

  test('questions whose hashes are the same are two all the same', () => {
    const { engine, ask, made } = setUp()
    const cache = cacheRuleOf({ bundle: 'main', path: 'p/d', inputReads: [['id']], varies: false, declaredMs: undefined }, 'trusted')
    const { input, prefixHash } = cache as CacheRule
    const seen = new Map<number, number>()
    let pair: [number, number] | undefined
    // Among so many two will do; a store finds by 30 bits.
    for (let id = 0; pair === undefined && id < 2_000_000; id++) {
      const json = JSON.stringify({ id })
      input.read(json)
      const hash = input.hash(prefixHash) & 0x3fffffff
      const other = seen.get(hash)
      if (other !== undefined) pair = [other, id]
      seen.set(hash, id)
    }
    engine.answer = ({ input }) => made(`"of ${input}"`)
    for (const id of [...(pair as [number, number]), ...(pair as [number, number])])
      expect(ask(id)).toMatchObject({ result: `"of ${JSON.stringify({ id })}"`, cached: false })
    expect(ask((pair as [number, number])[1])).toMatchObject({ cached: true })
  })

  test('one caller with many questions does not take the room of another', () => {
    const { engine, store, ask } = setUp({ maxBytes: 100_000 })
    for (let i = 0; i < 50; i++) void ask(i, 'quiet')
    for (let i = 0; i < 10_000; i++) void ask(i, 'loud')
    expect(store.bytes).toBeLessThanOrEqual(100_000)
    const asked = engine.asked
    for (let i = 0; i < 50; i++) void ask(i, 'quiet')
    expect(engine.asked).toBe(asked)
    for (let i = 0; i < 5_000; i++) void ask(i, `caller ${i}`)
    expect(store.bytes).toBeLessThanOrEqual(100_000)
  })
})
