// What a bundle itself says of its records: `data.system.log.mask`, which names what is not recorded, and `data.system.log.drop`, which leaves of
// a record only that there was a decision; where the bundle has them as entrypoints. They see what OPA's see. A rule that fails, or says
// what cannot be understood, hides everything.
// @see https://www.openpolicyagent.org/docs/management-decision-logs#masking-sensitive-data
import type { RecordedDecision } from '../decision/decision.ts'
import type { LogRules } from '../decision/log-rules.ts'
import type { DecisionRequest } from '../decision/request.ts'
import type { ActiveBundles } from './active-bundles.ts'

const [maskPath, dropPath] = ['system/log/mask', 'system/log/drop']
const hidden: LogRules = { replace: new Map(), isDropped: true }

/** @returns undefined: the bundle says nothing */
export function logRulesOf(bundles: ActiveBundles, trustedKey: string) {
  return (request: DecisionRequest, { policy, trusted, reasons, obligations, nd, outcome, id }: RecordedDecision): LogRules | undefined => {
    const bundle = policy === undefined ? undefined : bundles.get(policy.bundle)
    if (bundle === undefined || policy === undefined) return undefined
    const [mask, drop] = [bundle.entrypoints.get(maskPath), bundle.entrypoints.get(dropPath)]
    if (mask === undefined && drop === undefined) return undefined
    const member = (name: string, text: string | undefined) => (text === undefined ? '' : `,"${name}":${text}`)
    const result = `{"decision":${outcome === 'allow'}${member('reasons', reasons)}${member('obligations', obligations)}}`
    const event =
      `{"decision_id":"${id}","path":${JSON.stringify(policy.entrypoint)},"result":${result}` +
      `${member('input', request.input)}${member(trustedKey, trusted)}${member('nd_builtin_cache', nd)}}`
    try {
      const ask = (entrypoint: { readonly id: number }) => bundle.instance.evaluate(entrypoint.id, event, request.timeMs).result
      const isDropped = drop !== undefined && ask(drop) === 'true'
      const said = mask === undefined ? undefined : ask(mask)
      return { isDropped, replace: said === undefined ? new Map() : readMask(said) }
    } catch {
      return hidden
    }
  }
}

/** @throws TypeError for what is no mask */
function readMask(text: string): Map<string, unknown> {
  const rules = JSON.parse(text) as unknown
  if (!Array.isArray(rules)) throw new TypeError('a mask is a set')
  const replace = new Map<string, unknown>()
  for (const rule of rules as unknown[]) {
    if (typeof rule === 'string') for (const pointer of pointersOf(rule)) replace.set(pointer, null)
    else {
      const { op, path, value } = rule as { readonly op?: unknown; readonly path?: unknown; readonly value?: unknown }
      if (typeof path !== 'string' || (op !== 'remove' && op !== 'upsert'))
        throw new TypeError('an operation of a mask is `remove` or `upsert` with a path')
      for (const pointer of pointersOf(path)) replace.set(pointer, op === 'remove' ? null : (value ?? null))
    }
  }
  return replace
}

/** From a place in OPA's event to those in a record; whether it was allowed is always recorded. @throws TypeError */
function pointersOf(path: string): string[] {
  if (path === '/input' || path.startsWith('/input/')) return [path]
  if (path === '/result') return ['/reasons', '/obligations']
  if (path.startsWith('/result/')) return path === '/result/decision' ? [] : [path.slice('/result'.length)]
  if (path === '/nd_builtin_cache' || path.startsWith('/nd_builtin_cache/')) return [path.replace('/nd_builtin_cache', '/nd')]
  throw new TypeError('a mask is for `/input`, `/result` or `/nd_builtin_cache`')
}
