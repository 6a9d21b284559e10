// The innermost decider: finds the policy, evaluates it, reads the result. Every failure once the policy is known
// is a Decision with the outcome `error`, so that the record says which policy failed.
import type { Decider } from '../decision/decider.ts'
import type { Decision, PolicyIdentity } from '../decision/decision.ts'
import { toSingleLine } from '../decision/json-text.ts'
import { readResult } from '../decision/read-result.ts'
import type { DecisionRequest, JsonText } from '../decision/request.ts'
import { PdpError, toPdpError } from '../errors.ts'
import { type ActiveBundles, resolveEntrypoint } from './active-bundles.ts'
import type { Evaluation } from './policy-instance.ts'
import { trustedFacts, withTrusted } from './trusted-input.ts'

export interface EngineOptions {
  /** Key of `input` for what the service established itself. */
  readonly trustedKey: string
}

export function createEngine(bundles: ActiveBundles, options: EngineOptions): Decider {
  return {
    /** @throws PdpError ERR_NO_BUNDLE, ERR_UNKNOWN_BUNDLE, ERR_UNKNOWN_ENTRYPOINT, ERR_ENTRYPOINT_REQUIRED */
    decide(request: DecisionRequest): Decision | Promise<Decision> {
      const bundle = bundles.resolve(request.bundle)
      const entrypoint = resolveEntrypoint(bundle, request.entrypoint)
      const policy = entrypoint.identity
      if (request.minEpoch !== undefined && bundle.epoch < request.minEpoch) {
        const error = new PdpError(
          'ERR_STALE_EPOCH',
          `the bundle \`${bundle.name}\` is at epoch \`${bundle.epoch}\`, the request wants \`${request.minEpoch}\` or later`,
        )
        return { outcome: 'error', error, policy, maxAgeMs: 0, cached: false, steps: 0 }
      }
      if (request.timeMs >= bundle.refusedFromMs) {
        const error = new PdpError('ERR_BUNDLE_EXPIRED', `the signature of the bundle \`${bundle.name}\` expired too long ago`)
        return { outcome: 'error', error, policy, maxAgeMs: 0, cached: false, steps: 0 }
      }
      const trusted = trustedFacts(request, entrypoint.readsTime)
      try {
        const input = withTrusted(request.input, options.trustedKey, entrypoint.readsTrusted ? trusted : undefined)
        if (entrypoint.usesNetwork && bundle.remote !== undefined) {
          return bundle.remote
            .evaluate(policy.entrypoint, input, request.timeMs, request.trace)
            .then((evaluation) => toDecision(evaluation, policy, trusted))
            .catch((thrown: unknown) => toFailure(thrown, policy, trusted, stepsOf(thrown)))
        }
        return toDecision(bundle.instance.evaluate(entrypoint.id, input, request.timeMs), policy, trusted)
      } catch (thrown) {
        return toFailure(thrown, policy, trusted, bundle.instance.lastSteps)
      }
    },
  }
}

function toDecision(evaluation: Evaluation, policy: PolicyIdentity, trusted: JsonText): Decision {
  const { steps, nd } = evaluation
  const result = evaluation.result === undefined ? undefined : toSingleLine(evaluation.result)
  const { allowed, reasons, obligations, context, maxAgeMs } = readResult(result)
  const outcome = allowed ? 'allow' : 'deny'
  const declared = { maxAgeMs: maxAgeMs ?? 0, declaredAgeMs: maxAgeMs }
  return { outcome, policy, reasons, obligations, context, ...declared, cached: false, steps, trusted, result, nd }
}

function toFailure(thrown: unknown, policy: PolicyIdentity, trusted: JsonText, steps: number): Decision {
  return { outcome: 'error', error: toPdpError(thrown), policy, maxAgeMs: 0, cached: false, steps, trusted }
}

/** Steps of a remote evaluation that failed. */
function stepsOf(thrown: unknown): number {
  return (thrown as { steps?: number }).steps ?? 0
}
