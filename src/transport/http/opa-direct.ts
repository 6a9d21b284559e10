// POST /v1/data/{path} as nearly every client sends it, for direct.ts: a plain path, no parameters.
import type { RecordedDecider } from '../../decision/decider.ts'
import type { RecordedDecision } from '../../decision/decision.ts'
import type { PdpError } from '../../errors.ts'
import type { DecideLimits } from '../decide-request.ts'
import { type Answer, type AnswerLog, errorAnswer, jsonHeaders } from './answer.ts'
import type { DirectRoute } from './direct.ts'
import { inputOfBody, opaCodeOf, opaError, partsOf, toV1Answer } from './opa-data.ts'
import { retryAfterS } from './status.ts'

const prefix = '/v1/data/'
const plainPath = /^[A-Za-z0-9_]+(?:\/[A-Za-z0-9_]+)*$/
/** Routes that are kept; paths are the callers'. */
const maxRoutes = 1_000

/** @returns the route of a target, undefined for what is not plain */
export function opaDirect(decider: RecordedDecider, limits: DecideLimits, log: AnswerLog): (target: string) => DirectRoute | undefined {
  const inputLimits = { ...limits, forbidPrototypeKeys: false }
  const routes = new Map<string, DirectRoute>()
  return (target) => {
    if (!target.startsWith(prefix)) return undefined
    const path = target.slice(prefix.length)
    let route = routes.get(path)
    if (route === undefined && plainPath.test(path)) {
      if (routes.size >= maxRoutes) routes.clear()
      route = routeOf(path)
      routes.set(path, route)
    }
    return route
  }

  function routeOf(path: string): DirectRoute {
    const answer = (decision: RecordedDecision): string | Answer => {
      const { status, body } = toV1Answer(decision, path, {})
      if (status === 200) return body
      return { status, headers: { ...jsonHeaders, ...(status === 503 && { 'retry-after': String(retryAfterS) }) }, body }
    }
    return {
      handle(text, { correlationId, trace, caller }) {
        const input = inputOfBody(text, inputLimits)
        const decision = decider.decide({
          door: 'opa',
          correlationId,
          trace,
          caller,
          timeMs: Date.now(),
          input,
          ...partsOf(input),
          entrypoint: path,
        })
        return decision instanceof Promise ? decision.then(answer) : answer(decision)
      },
      fail: (error, correlationId) => opaFailure(error, correlationId, 'POST', log),
    }
  }
}

/** A failure in OPA's form; what failed is logged. */
export function opaFailure(error: PdpError, correlationId: string, method: string, log: AnswerLog): Answer {
  const { status, headers } = errorAnswer(error, correlationId, method, log)
  return { status, headers, body: opaError(opaCodeOf(status), error.message, error.code) }
}
