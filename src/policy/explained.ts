// A decider that adds OPA's own trace to decisions whose request asks for it. The decision stays the engine's.
import type { Decider } from '../decision/decider.ts'
import type { Decision } from '../decision/decision.ts'
import type { DecisionRequest, ExplainMode, JsonText } from '../decision/request.ts'
import { toPdpError } from '../errors.ts'
import type { ActiveBundles } from './active-bundles.ts'
import { withTrusted } from './trusted-input.ts'

/** Evaluates sources elsewhere, with a trace. */
export type Explainer = (question: {
  readonly files: Readonly<Record<string, string>>
  readonly data: JsonText
  readonly input: JsonText | undefined
  readonly entrypoint: string
  readonly timeNs: bigint
  readonly explain: ExplainMode
}) => Promise<string>

/** Explanations that may be under way at once: each takes a worker tens of milliseconds. */
const maxUnderWay = 4

export function explained(inner: Decider, bundles: ActiveBundles, trustedKey: string, explain: Explainer): Decider {
  let underWay = 0
  return {
    decide(request: DecisionRequest): Decision | Promise<Decision> {
      const decided = inner.decide(request)
      const { explain: mode } = request
      if (mode === undefined || mode === false) return decided
      return addTrace(request, decided, mode === true ? 'full' : mode)
    },
  }

  async function addTrace(request: DecisionRequest, decided: Decision | Promise<Decision>, mode: ExplainMode): Promise<Decision> {
    const decision = await decided
    const bundle = decision.policy === undefined ? undefined : bundles.get(decision.policy.bundle)
    if (decision.policy === undefined || bundle === undefined || bundle.epoch !== decision.policy.epoch) return decision
    if (Object.keys(bundle.modules).length === 0) return { ...decision, explanation: 'the bundle carries no Rego sources to explain with' }
    if (underWay >= maxUnderWay) return { ...decision, explanation: 'too many explanations are being made: ask again later' }
    underWay++
    try {
      const explanation = await explain({
        files: bundle.modules,
        data: bundle.data,
        input: withTrusted(request.input, trustedKey, decision.trusted ?? '{}'),
        entrypoint: decision.policy.entrypoint,
        timeNs: BigInt(request.timeMs) * 1_000_000n,
        explain: mode,
      })
      return { ...decision, explanation }
    } catch (thrown) {
      return { ...decision, explanation: `no explanation: ${toPdpError(thrown).message}` }
    } finally {
      underWay--
    }
  }
}
