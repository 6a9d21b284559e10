// What the cache of decisions costs and saves, in one process without sockets and records, on one core: a decision that is given again,
// one that is made and kept, one that is made; and how many questions share a decision where each brings something of its own.
//   npm run bench:cache            measures and rewrites its part of docs/benchmarks.md
//   npm run bench:cache -- --quick one short round, prints only
import { cpus } from 'node:os'
import { createClient } from '../../src/client/index.ts'
import type { Decider } from '../../src/decision/decider.ts'
import type { DecisionRequest } from '../../src/decision/request.ts'
import { ActiveBundles } from '../../src/policy/active-bundles.ts'
import { cached } from '../../src/policy/cached.ts'
import { DecisionStore } from '../../src/policy/decision-store.ts'
import { createEngine } from '../../src/policy/engine.ts'
import { loadBundle } from '../../src/policy/load-bundle.ts'
import { compilePolicyModule } from '../../src/policy/policy-module.ts'
import { createReactorHost } from '../../src/rego/reactor-host.ts'
import { Toolchain } from '../../src/rego/toolchain.ts'
import { abacData, abacPolicy, abacQuestion } from './abac.ts'
import { median, writeReport } from './servers.ts'

const quick = process.argv.includes('--quick')
const rounds = quick ? 1 : 7
const perRound = quick ? 20_000 : 400_000

/** As a gateway's policy that looks through the grants of a path, one by one. */
const longPolicy = `package long

# METADATA
# entrypoint: true
allow if {
	some grant in data.grants
	grant.role in input.subject.roles
	startswith(input.resource.id, grant.prefix)
}
`
const grants = Array.from({ length: 200 }, (_, i) => ({ role: `r${i}`, prefix: `/area-${i}/` }))

const toolchain = new Toolchain()
const host = await createReactorHost(toolchain, '{}')
const bundles = new ActiveBundles()
for (const [name, text, data] of [
  ['small', abacPolicy, abacData],
  ['long', longPolicy, { grants }],
] as const) {
  const built = await toolchain.build({ files: { 'p.rego': text } }, [])
  const reads = built.entrypoints.map(({ path, reads }) => [path, reads] as const)
  const stamp = await loadBundle(
    {
      name,
      revision: '',
      digest: `sha256:${'0'.repeat(64)}`,
      module: await compilePolicyModule(built.wasm),
      data: JSON.stringify(data),
      modules: {},
      defaultEntrypoint: undefined,
      inputReads: Object.fromEntries(reads.map(([path, read]) => [path, read?.input ?? [[]]])),
      functions: {},
      varying: Object.fromEntries(reads.map(([path, read]) => [path, (read?.nondeterministic.length ?? 1) > 0])),
      cacheAges: {},
      search: {},
    },
    host,
    { maxSteps: 10_000_000, maxMemoryBytes: 64 * 2 ** 20 },
    'trusted',
  )
  bundles.activate(stamp(1, Date.now()))
}

const engine = createEngine(bundles, { trustedKey: 'trusted' })
const caller = { authenticated: true, id: 'gateway' }
const requestOf = (bundle: string, question: object): DecisionRequest => ({
  door: 'bench',
  correlationId: '',
  trace: undefined,
  caller,
  timeMs: Date.now(),
  input: JSON.stringify(question),
  subject: undefined,
  action: undefined,
  resource: undefined,
  bundle,
})
const options = () => ({ maxAgeMs: 600_000, maxAnswerMs: 600_000, store: new DecisionStore(64 * 2 ** 20), now: () => performance.now() })
const questions = {
  small: (i: number) => abacQuestion(i),
  long: (i: number) => ({
    subject: { type: 'user', id: `u${i}`, roles: ['r199'] },
    action: { name: 'GET' },
    resource: { type: 'route', id: '/area-199/x' },
  }),
}

/** Nanoseconds for a question. */
function timed(decider: Decider, requests: readonly DecisionRequest[], count: number): number {
  const began = performance.now()
  for (let i = 0; i < count; i++)
    if ((decider.decide(requests[i % requests.length] as DecisionRequest) as { outcome?: string }).outcome !== 'allow')
      throw new Error('not as it should be')
  return ((performance.now() - began) * 1e6) / count
}

const ways = ['made', 'given again', 'made and kept'] as const
const measured = new Map<string, number[]>()
for (const bundle of ['small', 'long'] as const) {
  // Texts of their own, as they come off the wire; each differs in what the policy does not read.
  const noisy = Array.from({ length: 500 }, (_, i) => requestOf(bundle, questions[bundle](i)))
  const count = bundle === 'small' ? perRound : perRound / 10
  const runs = {
    made: () => timed(engine, noisy, count),
    'given again': () => timed(cached(engine, bundles, options(), { hits: 0, misses: 0, passed: 0 }), noisy, count),
    // Nothing is ever found: each look-up is for a time that is over.
    'made and kept': () => timed(cached(engine, bundles, { ...options(), now: steps() }, { hits: 0, misses: 0, passed: 0 }), noisy, count),
  }
  for (let round = -1; round < rounds; round++) {
    for (const way of ways) {
      const ns = runs[way]()
      if (round >= 0) measured.set(`${bundle} ${way}`, [...(measured.get(`${bundle} ${way}`) ?? []), ns])
    }
  }
}

function steps(): () => number {
  let at = 0
  return () => (at += 1_000_000)
}

/** Of questions of 200 users for 20 kinds of resource, each with an ID and a time of its own. */
function ratios(): { ours: number; whole: number } {
  const counts = { hits: 0, misses: 0, passed: 0 }
  const decider = cached(engine, bundles, options(), counts)
  const seen = new Set<string>()
  let whole = 0
  const count = 50_000
  for (let i = 0; i < count; i++) {
    const question = {
      ...abacQuestion(i),
      subject: { type: 'user', id: `u${i % 200}` },
      context: { hour: 10, request_id: `r${i}`, now: 1_772_618_400 + i },
    }
    question.resource.type = `t${i % 20}`
    const request = requestOf('small', question)
    void decider.decide(request)
    if (seen.has(request.input as string)) whole++
    seen.add(request.input as string)
  }
  return { ours: counts.hits / count, whole: whole / count }
}

/** Kept answers that a client gives again, a second; what it gets it gets without a network. */
async function edgeHits(): Promise<number> {
  const answer = JSON.stringify({ decision: true, id: '855ab5e6-0000-4000-8000-000000000000', context: {}, cache: { max_age_ms: 600_000 } })
  const say = (text: string) => new TextEncoder().encode(text)
  const fetch = async (url: string): Promise<Response> => {
    if (url.endsWith('/v1/reuses')) return new Response(null, { status: 204 })
    if (!url.endsWith('/v1/changes')) return new Response(answer)
    let beat: NodeJS.Timeout
    return new Response(
      new ReadableStream({
        start(controller) {
          controller.enqueue(say('id: i.1\nevent: hello\ndata: {"reset":true}\n\n'))
          beat = setInterval(() => controller.enqueue(say(':\n\n')), 200).unref()
        },
        cancel: () => clearInterval(beat),
      }),
    )
  }
  const client = createClient({ urls: ['http://pdp.example'], keep: {}, fetch: fetch as typeof globalThis.fetch })
  const asked = Array.from({ length: 500 }, (_, i) => abacQuestion(i))
  for (const question of asked) await client.decide(question)
  await new Promise((resolve) => setTimeout(resolve, 50))
  for (const question of asked) await client.decide(question)
  const began = performance.now()
  for (let i = 0; i < perRound; i++) {
    const { decision } = await client.decide(asked[i % asked.length] as (typeof asked)[number])
    if (!decision) throw new Error('not as it should be')
    // The stream is read in turns of the event loop.
    if (i % 10_000 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  const perSecond = perRound / ((performance.now() - began) / 1_000)
  void client.close()
  return perSecond
}
const edge: number[] = []
for (let round = -1; round < rounds; round++) {
  const perSecond = await edgeHits()
  if (round >= 0) edge.push(perSecond)
}

const ns = (name: string) => Math.round(median(measured.get(name) as number[])).toLocaleString('en')
const { ours, whole } = ratios()
const report = `| policy | made (ns) | made and kept (ns) | given again (ns) |
|---|---|---|---|
| the small one of the other benches | ${ns('small made')} | ${ns('small made and kept')} | ${ns('small given again')} |
| one that looks through 200 grants | ${ns('long made')} | ${ns('long made and kept')} | ${ns('long given again')} |

Of 50,000 questions of 200 users for 20 kinds of resources, each with a resource, an ID and a time of its own, **${(100 * ours).toFixed(1)} %** are given again; by a key of
the whole input it were ${(100 * whole).toFixed(1)} %. The thin client gives **${Math.round(median(edge)).toLocaleString('en')}** kept answers a second, one call after another. Median of ${rounds} rounds of ${perRound.toLocaleString('en')} questions (a tenth for the second), from a request to the core to its decision, without a record.
Machine: ${cpus()[0]?.model.replace(/ Processor.*/, '')}, Node.js ${process.versions.node}, one process.`
process.stdout.write(`${report}\n`)
await toolchain.close()
if (!quick) writeReport('bench:cache', report)
process.exit(0)
