// The composition root of the embedded mode: the thin client, and in front of it the core of the service, without its doors:
//   question → recorded(cached(engine)) → answer
// for what can be answered here: by a bundle that is verified and current, of a subject that nobody isolated, while the service is heard
// and takes the records. Everything else the client asks of the service.
//
// INVARIANT: nothing is decided here by what the service said longer than `boundMs` ago.
import zlib from 'node:zlib'
import { recorded } from '../audit/recorded.ts'
import { BundleSigners } from '../bundle-signers.ts'
import { type Answer, type CallOptions, type Client, type ClientOptions, createClient, type Question } from '../client/index.ts'
import { wayTo } from '../client/way.ts'
import { type BundleRules, configSchema } from '../config.ts'
import type { RecordedDecider } from '../decision/decider.ts'
import { PdpError } from '../errors.ts'
import { ActiveBundles } from '../policy/active-bundles.ts'
import { cached } from '../policy/cached.ts'
import { DecisionStore } from '../policy/decision-store.ts'
import { createEngine } from '../policy/engine.ts'
import { createReactorHost } from '../rego/reactor-host.ts'
import { Toolchain } from '../rego/toolchain.ts'
import { version } from '../version.ts'
import { BundleCopy } from './bundle-copies.ts'
import { createAsker } from './local-question.ts'
import { RecordOutbox } from './record-outbox.ts'
import { ServiceFacts, type ServiceRules } from './service-facts.ts'
import { toldLine } from './told-line.ts'

type Given<T> = T extends readonly (infer One)[] ? readonly Given<One>[] : T extends object ? { readonly [K in keyof T]?: Given<T[K]> } : T

/** Those of the client are for what is asked of the service; the first of `urls` has the bundles and takes the records. */
export interface EmbeddedOptions extends Omit<ClientOptions, 'keep'> {
  /**
   * Bundles that are evaluated here: `name`, and `signature` as in the configuration of a service; all others are asked of the service.
   * One whose signatures come by envelopes (`threshold` above 1) cannot be.
   */
  readonly bundles: readonly (Pick<BundleRules, 'name'> & { readonly signature?: Given<BundleRules['signature']> })[]
  /** Keys that verify signatures: `id`, `algorithm` and `file`, as in the configuration of a service. */
  readonly keys?: readonly { readonly id: string; readonly algorithm: string; readonly file: string }[]
  /** For how long decisions are made here when the service is not heard any longer. Milliseconds; default 3,000, at least 2,000. */
  readonly boundMs?: number
  /** For decisions that are given again. Bytes; 0: all are made. Default 16 MiB. */
  readonly cacheBytes?: number
  /** Records that the service has not taken yet, beyond which nothing is decided here. Bytes; default 16 MiB. */
  readonly maxUntoldBytes?: number
  /** How long to wait for the bundles in the beginning; then the service is asked until they are there. Milliseconds; default 10,000. */
  readonly readyMs?: number
  /** Told of what does not work; meanwhile the service is asked. Default: nobody is. */
  readonly onError?: (error: Error) => void
}

export interface Embedded extends Client {
  /** Answers since the beginning, by where they were made. */
  readonly counts: { readonly here: number; readonly service: number }
}

/**
 * Resolves when the bundles answer here, or `readyMs` have passed.
 * @throws TypeError as createClient, and for a Node.js that is too old; PdpError ERR_CONFIG_INVALID for bundles and keys that cannot be used, ERR_TOOLCHAIN
 */
export async function createEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const { boundMs = 3_000, cacheBytes = 16 * 2 ** 20, maxUntoldBytes = 16 * 2 ** 20, readyMs = 10_000, onError = () => {} } = options
  if (!('zstdDecompressSync' in zlib)) throw new TypeError('the embedded mode needs Node.js 22.15 or later')
  if (!(boundMs >= 2_000)) throw new TypeError('`boundMs` must be at least 2,000: the service is heard once a second')
  const config = configOf(options)
  const signers = new BundleSigners(config)
  const client = createClient(options)
  const toolchain = new Toolchain()
  try {
    const host = await createReactorHost(toolchain, JSON.stringify({ version, config: { labels: {} }, env: {} }))
    const way = wayTo(options.urls[0] as string, options)
    const outbox = new RecordOutbox(way, maxUntoldBytes, onError)
    const bundles = new ActiveBundles()
    const facts = new ServiceFacts(way, boundMs, refreshAll, onError)
    const copies = new Map(
      config.bundles.map((rules) => [rules.name, new BundleCopy(rules, bundles, { way, facts, signers, toolchain, host, onError })]),
    )
    let decider: { readonly rules: ServiceRules; readonly decider: RecordedDecider } | undefined
    const askHere = createAsker({ bundles, copies, facts, boundMs, isRecording: () => outbox.available, deciderFor })
    const counts = { here: 0, service: 0 }
    let isClosed = false
    await readiness()
    return {
      counts,
      decide: ask,
      decideMany: (questions, call) => Promise.all(questions.map((question) => ask(question, call))),
      async close() {
        if (isClosed) return
        isClosed = true
        facts.close()
        await Promise.all([...copies.values()].map((copy) => copy.close()))
        await Promise.all([outbox.close(), client.close()])
        await toolchain.close()
      },
    }

    function ask(question: Question, call?: CallOptions): Promise<Answer> {
      const answer = isClosed ? undefined : askHere(question, call)
      if (answer === undefined) {
        counts.service++
        return client.decide(question, call)
      }
      counts.here++
      return Promise.resolve(answer)
    }

    /** As the service decides; another configuration there makes another one here. */
    function deciderFor(rules: ServiceRules): RecordedDecider {
      if (decider?.rules !== rules) {
        const store = cacheBytes > 0 ? new DecisionStore(cacheBytes) : undefined
        const cache = { maxAgeMs: rules.maxAgeMs, maxAnswerMs: rules.maxAgeMs, store, now: () => performance.now() }
        const again = cached(createEngine(bundles, { trustedKey: rules.trustedKey }), bundles, cache, { hits: 0, misses: 0, passed: 0 })
        decider = { rules, decider: recorded(again, outbox, toldLine, onError) }
      }
      return decider.decider
    }

    function refreshAll(): void {
      for (const copy of copies.values()) void copy.refresh()
    }

    async function readiness(): Promise<void> {
      const isReady = () => [...copies.keys()].every((name) => bundles.get(name) !== undefined)
      for (const until = performance.now() + readyMs; !isReady() && performance.now() < until; )
        await new Promise((resolve) => setTimeout(resolve, 5))
    }
  } catch (thrown) {
    await Promise.all([toolchain.close(), client.close()])
    throw thrown
  }
}

/** @throws PdpError ERR_CONFIG_INVALID */
function configOf({ bundles, keys = [] }: EmbeddedOptions) {
  const parsed = configSchema.pick({ bundles: true, keys: true }).safeParse({ bundles, keys })
  if (!parsed.success)
    throw new PdpError('ERR_CONFIG_INVALID', parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`).join('; '))
  const several = parsed.data.bundles.find(({ signature }) => signature.threshold > 1)
  if (several !== undefined)
    throw new PdpError('ERR_CONFIG_INVALID', `several have to sign \`${several.name}\`, by envelopes that only the service has`)
  return parsed.data
}
