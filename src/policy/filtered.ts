// A decider that answers what is left of a rule when a part of its input is unknown, as a filter of data. OPA's own partial
// evaluation, on the toolchain's thread; a question without a demand for filters goes on as it is.
import type { Decider } from '../decision/decider.ts'
import type { Decision } from '../decision/decision.ts'
import { toSingleLine } from '../decision/json-text.ts'
import type { DecisionRequest, FilterDemand, JsonText } from '../decision/request.ts'
import { PdpError, toPdpError } from '../errors.ts'
import { type ActiveBundles, resolveEntrypoint } from './active-bundles.ts'
import { trustedFacts, withTrusted } from './trusted-input.ts'

/** Compiles filters elsewhere. @returns JSON text: a list with one element for each target */
export type FilterCompiler = (question: {
  readonly files: Readonly<Record<string, string>>
  readonly data: JsonText
  readonly input: JsonText | undefined
  readonly path: string
  readonly demand: FilterDemand
}) => Promise<JsonText>

/** Filters that may be under way at once: each takes the toolchain's thread tens of milliseconds. */
const maxUnderWay = 8

export function filtered(inner: Decider, bundles: ActiveBundles, trustedKey: string, compile: FilterCompiler): Decider {
  let underWay = 0
  return {
    /** @throws PdpError ERR_OVERLOADED, and as the engine */
    decide(request: DecisionRequest): Decision | Promise<Decision> {
      if (request.filter === undefined) return inner.decide(request)
      if (underWay >= maxUnderWay) throw new PdpError('ERR_OVERLOADED', 'too many filters are being compiled: ask again later')
      return compileFilter(request, request.filter)
    },
  }

  async function compileFilter(request: DecisionRequest, demand: FilterDemand): Promise<Decision> {
    const bundle = bundles.resolve(request.bundle)
    const { identity: policy } = resolveEntrypoint(bundle, request.entrypoint)
    const trusted = trustedFacts(request, true)
    const base = { policy, trusted, maxAgeMs: 0, cached: false, steps: 0 }
    underWay++
    try {
      if (Object.keys(bundle.modules).length === 0) {
        throw new PdpError('ERR_EVALUATION_FAILED', 'the bundle carries no Rego sources to compile filters from')
      }
      const input = withTrusted(request.input, trustedKey, trusted)
      const result = toSingleLine(await compile({ files: bundle.modules, data: bundle.data, input, path: policy.entrypoint, demand }))
      return { ...base, outcome: result.includes('"defined":true') ? 'allow' : 'deny', result }
    } catch (thrown) {
      return { ...base, outcome: 'error', error: toPdpError(thrown) }
    } finally {
      underWay--
    }
  }
}
