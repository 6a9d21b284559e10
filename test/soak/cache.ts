// A soak: cache.ts SEQUENCES [SEED]. Random sequences of questions, activations, changes of data, revocations, quarantines and clocks
// that advance or are put, over random policies, are answered with the cache and without it: the answers must be alike, or the one
// from the cache not older than its author declared. Answers also say for how long they hold, and no longer than tokens do.
import { DatabaseSync } from 'node:sqlite'
import fc from 'fast-check'
import { cacheAgesOf } from '../../src/bundles/bundle.ts'
import type { Decider } from '../../src/decision/decider.ts'
import type { Decision } from '../../src/decision/decision.ts'
import type { Caller, DecisionRequest, VerifiedSubject } from '../../src/decision/request.ts'
import { PdpError } from '../../src/errors.ts'
import { withIsolation } from '../../src/guard/isolation.ts'
import { type ActiveBundle, ActiveBundles } from '../../src/policy/active-bundles.ts'
import { cached } from '../../src/policy/cached.ts'
import { DecisionStore } from '../../src/policy/decision-store.ts'
import { createEngine } from '../../src/policy/engine.ts'
import { loadBundle } from '../../src/policy/load-bundle.ts'
import { compilePolicyModule } from '../../src/policy/policy-module.ts'
import { createReactorHost } from '../../src/rego/reactor-host.ts'
import { Toolchain } from '../../src/rego/toolchain.ts'
import { IsolationStore } from '../../src/state/isolation-store.ts'
import { randomPolicy } from '../differential/policies.ts'
import { Tape } from '../differential/tape.ts'

const sequences = Number(process.argv[2] ?? 100_000)
const seed = Number(process.argv[3] ?? Date.now() % 2 ** 31)
const trustedKey = 'trusted'
const declaredMs = 7_000
const limits = { maxSteps: 5_000_000, maxMemoryBytes: 64 * 2 ** 20 }

const metadata = (more = '') => `# METADATA\n# entrypoint: true\n${more}`
const annotated = metadata(`# custom:\n#   cache:\n#     max_age_ms: ${declaredMs}\n`)
const written: readonly string[] = [
  `${metadata()}d if input.subject.id == data.owner`,
  `${metadata()}d := {"allow": input.n.v > 1, "context": {"v": input.n.v, "w": object.get(input.n, "w", null)}}`,
  `${metadata()}d if input.trusted.caller.id in data.list`,
  `${metadata()}d := {"allow": input.trusted.token.sub == input.subject.id, "context": {"token": input.trusted.token}}`,
  `${metadata()}d if { some k, v in input; k == data.owner; v }`,
  `${annotated}d := {"allow": true, "context": {"all": object.remove(input, ["trusted"]), "t": input.trusted.time}}`,
  `${annotated}d := {"allow": input.subject.id == data.owner, "context": {"t": time.now_ns()}}`,
  `${metadata()}d := {"allow": input.list[0] == data.owner, "cache": {"max_age_ms": data.age}, "reasons": [input.list]}`,
  `${metadata()}d := {"allow": not input.subject.id, "context": {"x": object.get(input, ["subject", "id"], "none")}}`,
  `${metadata()}d := {"allow": true, "context": {"s": input.s, "caller": input.trusted.caller}}`,
]
const pools = {
  data: ['{"owner":"a","list":["c1"],"age":3000}', '{"owner":"b","list":["c2"],"age":0}', '{"owner":1,"list":[],"age":60000}'],
  subject: [
    '{"id":"a"}',
    '{"id":"b"}',
    '{"id":"\\u0061"}',
    '{"id":1}',
    '{"id":1.0}',
    '{ "id" : "a" , "type":"u"}',
    '"a"',
    '["a"]',
    'null',
    '{}',
  ],
  n: [
    '{"v":1}',
    '{"v":1.0}',
    '{"v":-0}',
    '{"v":0}',
    '{"v":9007199254740992}',
    '{"v":9007199254740993}',
    '{"v":"2"}',
    '{"w":[1,[2]],"v":2}',
    '{"w":[[1],2],"v":2}',
  ],
  list: ['["a","b"]', '["a,b"]', '[["a"],"b"]', '["b"]', '"a"', '{"0":"a"}', '[]'],
  s: ['"é"', '"e\\u0301"', '"\\u00e9"', '"ab"', '"a\\"b"', '"a:b"', '1', 'true', '"true"', 'null'],
} as const
const callers: readonly Caller[] = [
  { authenticated: true, id: 'c1', address: '10.0.0.1' },
  { authenticated: true, id: 'c2', address: '10.0.0.2' },
  { authenticated: false, address: '10.0.0.1' },
]
const subjectOf = (id: string, expiresAtMs: number): VerifiedSubject => ({
  id,
  authority: 'i',
  clientId: 'web',
  claims: `{"sub":"${id}"}`,
  expiresAtMs,
})

const toolchain = new Toolchain()
const host = await createReactorHost(toolchain, '{}')

type Stamp = (epoch: number, nowMs: number) => ActiveBundle
/** The same policy with each data document. */
async function load(files: Readonly<Record<string, string>>, entrypoint: string | undefined, data: readonly string[]): Promise<Stamp[]> {
  const built = await toolchain.build({ files }, entrypoint === undefined ? [] : [entrypoint])
  const module = await compilePolicyModule(built.wasm)
  const reads = built.entrypoints.map(({ path, reads }) => [path, reads] as const)
  const wasm = built.entrypoints.map(({ path, annotations }) => ({ entrypoint: path, annotations }))
  return Promise.all(
    data.map((text, i) =>
      loadBundle(
        {
          name: 'main',
          revision: `${i}`,
          digest: `sha256:${'0'.repeat(64)}`,
          module,
          data: text,
          modules: {},
          defaultEntrypoint: undefined,
          inputReads: Object.fromEntries(reads.flatMap(([path, read]) => (read === undefined ? [] : [[path, read.input]]))),
          functions: {},
          varying: Object.fromEntries(reads.map(([path, read]) => [path, (read?.nondeterministic.length ?? 1) > 0])),
          cacheAges: cacheAgesOf({ revision: '', wasm, metadata: {} }),
          search: {},
        },
        host,
        limits,
        trustedKey,
      ),
    ),
  )
}

const counts = { questions: 0, hits: 0, late: 0, discarded: 0, policies: 0 }
const random = fc.sample(fc.infiniteStream(fc.nat(2 ** 31 - 1)), { numRuns: 1, seed })[0] as Iterator<number>
const below = (n: number) => (random.next().value as number) % n
const pick = <T>(from: readonly T[]) => from[below(from.length)] as T

/** What is told of an answer, or of the failure that took its place. */
async function outcome(decider: Decider, request: DecisionRequest): Promise<Partial<Decision> & { code?: string | undefined }> {
  try {
    const decision = await decider.decide(request)
    return { ...decision, code: decision.error?.code }
  } catch (thrown) {
    if (!(thrown instanceof PdpError)) throw thrown
    return { outcome: 'error', code: thrown.code }
  }
}
const alike = (a: object, b: object) => JSON.stringify(told(a)) === JSON.stringify(told(b))
const told = ({ outcome, code, result, policy, reasons, obligations, context }: Partial<Decision> & { code?: string }) => [
  outcome,
  code,
  result,
  policy,
  reasons,
  obligations,
  context,
]

function input(extra: readonly string[]): string {
  if (extra.length > 0 && below(3) > 0) return pick(extra)
  const members = (['subject', 'n', 'list', 's'] as const).filter(() => below(5) > 0).map((name) => `"${name}":${pick(pools[name])}`)
  if (below(4) === 0) members.push(`"noise":${below(1_000)}`)
  if (below(12) === 0) members.push(pick(['"trusted":{"caller":{"id":"c1"}}', '"tr\\u0075sted":1', '"sub\\u006aect":{"id":"a"}']))
  if (below(3) === 0) members.reverse()
  const isTwice = members.some((one) => one.startsWith('"subject"')) && members.some((one) => one.startsWith('"sub\\u006aect"'))
  return `{${(isTwice ? members.filter((one) => !one.startsWith('"sub\\u006aect"')) : members).join(pick([',', ' , ']))}}`
}

async function world(stamps: readonly Stamp[], extra: readonly string[], sequencesHere: number): Promise<void> {
  for (let left = sequencesHere; left > 0; left--) {
    const clock = { wall: 1_772_618_400_000, steady: 0 }
    const bundles = new ActiveBundles()
    const isolations = new IsolationStore(new DatabaseSync(':memory:'), () => clock.wall)
    const cacheCounts = { hits: 0, misses: 0, passed: 0 }
    const engine = createEngine(bundles, { trustedKey })
    const options = { maxAgeMs: 30_000, maxAnswerMs: 30_000, store: new DecisionStore(20_000), now: () => clock.steady }
    const withCache = withIsolation(cached(engine, bundles, options, cacheCounts), isolations)
    const without = withIsolation(engine, isolations)
    let epoch = 0
    const activate = () => bundles.activate(pick(stamps)(++epoch, clock.wall))
    activate()
    const holding: { id: string; effect: 'revoked' | 'quarantined' }[] = []
    for (let step = 0; step < 12; step++) {
      const what = below(20)
      if (what === 0) activate()
      else if (what === 1) {
        const effect = pick(['revoked', 'quarantined'] as const)
        const kind = pick(['caller', 'subject'] as const)
        const value = kind === 'caller' ? pick(['c1', 'c2']) : pick(['a', 'b'])
        const allowedActions = effect === 'quarantined' && below(2) === 0 ? ['read'] : []
        const expiresAtMs = below(2) === 0 ? undefined : clock.wall + 5_000
        holding.push({
          effect,
          id: isolations.add({ effect, kind, value, beforeMs: undefined, allowedActions, reason: '', author: 'x', expiresAtMs }).id,
        })
      } else if (what === 2 && holding.length > 0) {
        const { id, effect } = holding.pop() as (typeof holding)[number]
        isolations.end(id, effect, 'y', false)
      } else if (what === 3) {
        const ms = below(20_000)
        clock.wall += ms
        clock.steady += ms
      } else if (what === 4) clock.wall += pick([3_600_000, -3_600_000])
      else {
        const id = pick(['a', 'b'])
        const request: DecisionRequest = {
          door: 'soak',
          correlationId: '',
          trace: undefined,
          caller: below(4) === 0 ? { ...pick(callers), expiresAtMs: clock.wall + below(4_000) } : pick(callers),
          timeMs: clock.wall,
          input: below(40) === 0 ? undefined : input(extra),
          subject: `{"type":"u","id":"${id}"}`,
          action: `{"name":"${pick(['read', 'write'])}"}`,
          resource: undefined,
          ...(below(3) === 0 && { verified: subjectOf(id, clock.wall + below(10_000)) }),
          ...(below(10) === 0 && { minEpoch: epoch + below(2) }),
        }
        const before = cacheCounts.hits
        const a = await outcome(withCache, request)
        const b = await outcome(without, request)
        counts.questions++
        const isHit = cacheCounts.hits > before
        if (isHit) counts.hits++
        check(request, a, b, isHit, clock)
      }
    }
  }
}

function check(
  request: DecisionRequest,
  a: Partial<Decision> & { code?: string | undefined },
  b: Partial<Decision>,
  isHit: boolean,
  clock: { wall: number },
): void {
  const age = a.maxAgeMs ?? 0
  const ends = Math.min(request.caller.expiresAtMs ?? Number.POSITIVE_INFINITY, request.verified?.expiresAtMs ?? Number.POSITIVE_INFINITY)
  const says = (what: string) => {
    process.stderr.write(`seed ${seed}: ${what}\n${JSON.stringify({ request, a, b, isHit })}\n`)
    process.exit(1)
  }
  if (age > 0 && age > ends - request.timeMs) says('an answer holds for longer than a token')
  if (a.cached !== (isHit ? true : a.code === undefined ? false : a.cached)) says('an answer does not say whether it is given again')
  if (alike(a, b)) return
  const read = /"t":(\d+)/.exec(a.context ?? '')?.[1]
  // The clock may have been put since; what is bounded is how long ago the answer was made.
  const agoMs = read === undefined ? Number.NaN : clock.wall - Number(BigInt(read) / 1_000_000n)
  const isPut = Math.abs(agoMs) > 1_800_000
  const isWithin = isHit && (isPut || (agoMs >= 0 && agoMs <= declaredMs))
  const withoutTime = (text: string | undefined) => text?.replace(/"t":\d+/, '')
  if (isWithin && withoutTime(a.result) === withoutTime(b.result) && a.outcome === b.outcome) counts.late++
  else says('the answers differ')
}

const perWorld = 400
for (let done = 0; done < sequences; done += perWorld) {
  const isWritten = below(3) > 0
  const question = randomPolicy(new Tape(Array.from({ length: 400 }, () => below(1_000))))
  try {
    const stamps = isWritten
      ? [
          ...(await load({ 'p.rego': `package p\n\n${pick(written)}\n` }, undefined, pools.data)),
          ...(await load({ 'p.rego': `package p\n\n${pick(written)}\n` }, undefined, pools.data)),
        ]
      : await load(question.files, question.entrypoint, [question.data, question.data, '{"d":{},"list":[1]}'])
    counts.policies++
    await world(stamps, isWritten ? [] : question.inputs, Math.min(perWorld, sequences - done))
  } catch (thrown) {
    if (!(thrown instanceof PdpError) || thrown.code !== 'ERR_REGO') throw thrown
    counts.discarded++
    done -= perWorld
  }
  if (process.stderr.isTTY) process.stderr.write(`\r${done} sequences`)
}
await toolchain.close()
const ratio = counts.hits / counts.questions
process.stdout.write(
  `seed ${seed}: ${sequences} sequences over ${counts.policies} policies, ${counts.questions} questions, ${(100 * ratio).toFixed(0)} % from the cache: all alike but ${counts.late} within their declared time\n`,
)
process.exit(ratio > 0.05 ? 0 : 1)
