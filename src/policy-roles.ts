// Roles that a policy gives: the mapping from callers to roles as Rego, beside the configured one. Nothing is remembered for longer
// than a moment, so that a policy that looks at the clock, or a new revision, is heard.
import type { Caller } from './decision/request.ts'
import type { ActiveBundles } from './policy/active-bundles.ts'
import { askOutcome } from './policy/ask-outcome.ts'
import { splitPolicy } from './transport/decide-request.ts'

/** Whether a policy gives a role to a caller. */
export type RolePolicy = (caller: Caller, role: string) => boolean

const rememberedMs = 1_000
const maxRemembered = 10_000

/**
 * @param policy `bundle` or `bundle:entry/point`; its input is `{"caller": {"id", "spiffe_id"?, "issuer"?, "client_id"?, "scopes"?}, "role"}`
 * @returns false for everybody where the bundle or the entrypoint is not there, and where the policy fails
 */
export function rolesByPolicy(bundles: ActiveBundles, policy: string, now: () => number = Date.now): RolePolicy {
  const [name, path] = splitPolicy(policy)
  const remembered = new Map<string, { readonly isGiven: boolean; readonly epoch: number; readonly untilMs: number }>()
  return ({ id = '', issuer, clientId, scopes }, role) => {
    const bundle = name === undefined ? undefined : bundles.get(name)
    const entrypoint = path ?? bundle?.defaultEntrypoint?.identity.entrypoint
    if (bundle === undefined || entrypoint === undefined) return false
    const nowMs = now()
    const caller = { id, ...(id.startsWith('spiffe://') && { spiffe_id: id }), issuer, client_id: clientId, scopes }
    const input = JSON.stringify({ caller, role })
    const known = remembered.get(input)
    if (known !== undefined && known.epoch === bundle.epoch && nowMs < known.untilMs) return known.isGiven
    const isGiven = nowMs < bundle.refusedFromMs && askOutcome(bundle.instance, entrypoint, input, nowMs).outcome === 'allow'
    if (remembered.size >= maxRemembered) remembered.clear()
    remembered.set(input, { isGiven, epoch: bundle.epoch, untilMs: nowMs + rememberedMs })
    return isGiven
  }
}
