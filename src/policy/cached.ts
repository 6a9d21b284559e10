// Decisions that are given again instead of made again, as long as nothing that the policy can see has changed: what it reads of its
// input and of the trusted facts is the key, an activation or a change of data ends all that was decided before it, and what is
// not decided by these alone (the clock, functions whose answer varies) is given again only where its author says for how long.
// Who was revoked or quarantined is looked up before, never here. Errors are not kept.
//
// INVARIANT: a decision that is given again is one that the engine would make now, or not older than its author declared.
import type { Decider } from '../decision/decider.ts'
import type { Decision, PolicyIdentity } from '../decision/decision.ts'
import type { DecisionRequest, JsonText } from '../decision/request.ts'
import { type ActiveBundle, type ActiveBundles, type Entrypoint, resolveEntrypoint } from './active-bundles.ts'
import type { CacheRule } from './cache-rule.ts'
import type { DecisionStore } from './decision-store.ts'
import { trustedFacts } from './trusted-input.ts'

export interface CacheOptions {
  /** Longest time for any decision. Milliseconds. */
  readonly maxAgeMs: number
  /** Longest time for which whoever gets an answer may keep it. Milliseconds. */
  readonly maxAnswerMs: number
  /** Undefined: nothing is kept, and answers say how long they hold all the same. */
  readonly store: DecisionStore | undefined
  /** Milliseconds of a clock that only goes forward. */
  readonly now: () => number
}

/** What came of one look-up. */
export interface CacheCounts {
  hits: number
  misses: number
  /** Of entrypoints and requests whose decisions are made each time. */
  passed: number
}

/** Where a decision is kept. */
interface Place {
  readonly caller: string
  readonly hash: number
  readonly key: string
}

export function cached(inner: Decider, bundles: ActiveBundles, options: CacheOptions, counts: CacheCounts): Decider {
  const { store, now, maxAgeMs, maxAnswerMs } = options
  /** Evaluations that left the thread: who asks the same meanwhile waits for the same answer. */
  const underWay = new Map<string, { readonly policy: PolicyIdentity; readonly deciding: Promise<Decision> }>()
  return {
    /** @throws PdpError as ActiveBundles.resolve and resolveEntrypoint */
    decide(request: DecisionRequest): Decision | Promise<Decision> {
      const bundle = bundles.resolve(request.bundle)
      const entrypoint = resolveEntrypoint(bundle, request.entrypoint)
      const rule = entrypoint.cache
      const isPlain = request.risk === undefined && (request.explain ?? false) === false && request.filter === undefined
      const isServed = request.timeMs < bundle.refusedFromMs && bundle.epoch >= (request.minEpoch ?? 0)
      if (rule === undefined || store === undefined || !isPlain || !isServed) {
        counts.passed++
        return whenDecided(inner.decide(request), (decision) => withAge(decision, rule, request, bundle))
      }
      const trusted = rule.trusted === undefined ? undefined : readTrusted(request)
      const hash = read(rule, request.input, trusted)
      const caller = request.caller.id ?? request.caller.address ?? ''
      const stored = store.get(caller, hash)
      const began = now()
      // A new epoch is another identity, whatever was decided under the one before.
      if (stored !== undefined && stored.decision.policy === entrypoint.identity && began < stored.expiresAt && isKey(stored.key, rule)) {
        counts.hits++
        return again(
          stored.decision,
          Math.max(0, Math.floor(Math.min(stored.answerUntil - began, bundle.refusedFromMs - request.timeMs))),
          request,
          entrypoint,
        )
      }
      counts.misses++
      const key = keyOf(rule)
      const place = { caller, hash, key }
      const waiting = underWay.get(key)
      if (waiting !== undefined && waiting.policy === entrypoint.identity) {
        return waiting.deciding.then((decision) =>
          decision.error === undefined ? again(decision, decision.maxAgeMs, request, entrypoint) : decision,
        )
      }
      const decided = inner.decide(request)
      if (!(decided instanceof Promise)) return keep(store, place, decided, began, rule, request, bundle)
      const deciding = decided.then((decision) =>
        // What began before an activation must not take the place of what was decided behind it.
        bundles.get(bundle.name) === bundle
          ? keep(store, place, decision, began, rule, request, bundle)
          : withAge(decision, rule, request, bundle),
      )
      const flight = { policy: entrypoint.identity, deciding }
      underWay.set(key, flight)
      const land = () => {
        if (underWay.get(key) === flight) underWay.delete(key)
      }
      deciding.then(land, land)
      return deciding
    },
  }

  function again(decision: Decision, answerMs: number, request: DecisionRequest, { readsTime }: Entrypoint): Decision {
    // The record says what this request brought; where the clock was read, what was read of it.
    const trusted = readsTime ? decision.trusted : trustedFacts(request, false)
    return { ...decision, trusted, maxAgeMs: withinTokens(answerMs, request), cached: true, steps: 0 }
  }

  /** @param began when the question was asked, since what is read is not younger */
  function keep(
    store: DecisionStore,
    { caller, hash, key }: Place,
    decided: Decision,
    began: number,
    rule: CacheRule,
    request: DecisionRequest,
    bundle: ActiveBundle,
  ): Decision {
    const decision = withAge(decided, rule, request, bundle)
    if (decision.error !== undefined) return decision
    const ttl = withinTokens(Math.min(maxAgeMs, rule.maxAgeMs, decided.declaredAgeMs ?? Number.POSITIVE_INFINITY), request)
    if (ttl > 0) store.set(caller, hash, { key, decision, expiresAt: began + ttl, answerUntil: began + decision.maxAgeMs })
    return decision
  }

  /** An answer may be kept by whoever gets it for as long as somebody declared, and no longer than anything that it rests on. */
  function withAge(decision: Decision, rule: CacheRule | undefined, request: DecisionRequest, { refusedFromMs }: ActiveBundle): Decision {
    const declared = decision.declaredAgeMs ?? rule?.declaredMs ?? 0
    const age = decision.error !== undefined || rule === undefined || request.risk !== undefined ? 0 : declared
    const answerMs = withinTokens(Math.min(age, maxAnswerMs, rule?.maxAgeMs ?? 0, Math.max(0, refusedFromMs - request.timeMs)), request)
    return answerMs === decision.maxAgeMs ? decision : { ...decision, maxAgeMs: answerMs }
  }
}

/** What is no object has no trusted facts, as in withTrusted. */
function readTrusted(request: DecisionRequest): JsonText | undefined {
  return request.input?.startsWith('{') === true ? trustedFacts(request, false) : undefined
}

/** Reads what the entrypoint reads; the two below say what came of it. @returns 30 bits, which a Map finds without an object */
function read({ prefixHash, input, trusted }: CacheRule, json: JsonText | undefined, facts: JsonText | undefined): number {
  input.read(json)
  trusted?.read(facts)
  const hash = input.hash(prefixHash)
  return (trusted === undefined ? hash : trusted.hash(hash)) & 0x3fffffff
}

/** @param key of the same entrypoint */
function isKey(key: string, { prefix, input, trusted }: CacheRule): boolean {
  const end = input.endIn(key, prefix.length)
  return (end < 0 || trusted === undefined ? end : trusted.endIn(key, end)) === key.length
}

function keyOf({ prefix, input, trusted }: CacheRule): string {
  return prefix + input.key() + (trusted?.key() ?? '')
}

function withinTokens(ms: number, { caller, verified, timeMs }: DecisionRequest): number {
  if (caller.expiresAtMs === undefined && verified?.expiresAtMs === undefined) return ms
  const expiresAtMs = Math.min(caller.expiresAtMs ?? Number.POSITIVE_INFINITY, verified?.expiresAtMs ?? Number.POSITIVE_INFINITY)
  return Math.max(0, Math.min(ms, Math.floor(expiresAtMs - timeMs)))
}

function whenDecided(decided: Decision | Promise<Decision>, use: (decision: Decision) => Decision): Decision | Promise<Decision> {
  return decided instanceof Promise ? decided.then(use) : use(decided)
}
