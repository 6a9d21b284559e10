// Who may call this service, and with which roles: tokens in files, workloads by their SPIFFE IDs, and the local administrator, who
// may do everything but ask for decisions.
import type { Caller } from '../decision/request.ts'
import { PdpError } from '../errors.ts'
import { parseSpiffeId, spiffePattern } from './spiffe-id.ts'
import { createFixedToken, createTokenFile } from './token-file.ts'

export const adminRoles = ['pull', 'push', 'patch', 'approve', 'operate', 'audit', 'revoke', 'quarantine'] as const
export const roles = ['decide', ...adminRoles] as const
export type Role = (typeof roles)[number]

/** One of `tokenFile`, `spiffeId` and `issuer` is there. */
export interface CallerConfig {
  /** Of a token. */
  readonly id?: string | undefined
  readonly tokenFile?: string | undefined
  /** An ID, or a pattern of IDs. */
  readonly spiffeId?: string | undefined
  /** Of access tokens; the three that follow narrow it down. */
  readonly issuer?: string | undefined
  readonly subject?: string | undefined
  readonly clientId?: string | undefined
  readonly scope?: string | undefined
  readonly roles: readonly Role[]
}

export interface Callers {
  /** @returns undefined for a token that nobody has */
  verifyToken(token: string): Caller | undefined
  hasRole(caller: Caller, role: Role): boolean
}

export const administrator = 'token:admin'
/** Peers whose roles are kept; IDs are the callers'. */
const maxKnown = 10_000

/** @throws PdpError ERR_CONFIG_INVALID for a file that cannot be read, or what is no SPIFFE ID */
export function createCallers(configured: readonly CallerConfig[], adminToken: string): Callers {
  const rolesByToken = new Map<string, ReadonlySet<Role>>([[administrator, new Set(adminRoles)]])
  const tokens = [{ caller: { authenticated: true, id: administrator }, isToken: createFixedToken(adminToken) }]
  const workloads: { readonly isMeant: ReturnType<typeof spiffePattern>; readonly roles: readonly Role[] }[] = []
  const clients = configured.filter(({ issuer }) => issuer !== undefined)
  for (const { id, tokenFile, spiffeId, roles } of configured) {
    if (spiffeId !== undefined) workloads.push({ isMeant: spiffePattern(spiffeId), roles })
    if (tokenFile === undefined) continue
    // A token must not speak for a workload.
    if (id === undefined || id.startsWith('spiffe:')) throw new PdpError('ERR_CONFIG_INVALID', 'a token needs an ID, which is no SPIFFE ID')
    rolesByToken.set(id, new Set(roles))
    tokens.push({ caller: { authenticated: true, id }, isToken: createTokenFile(tokenFile) })
  }
  const known = new Map<string, ReadonlySet<Role>>()
  return {
    // All are compared, so that time does not tell which one it was.
    verifyToken: (token) => tokens.filter(({ isToken }) => isToken(token))[0]?.caller,
    hasRole({ id, issuer, clientId, scopes }, role) {
      if (id === undefined) return false
      if (issuer === undefined) return rolesOf(id).has(role)
      return clients.some(
        (one) =>
          one.issuer === issuer &&
          one.roles.includes(role) &&
          (one.subject === undefined || id === `${issuer}|${one.subject}`) &&
          (one.clientId === undefined || one.clientId === clientId) &&
          (one.scope === undefined || scopes?.includes(one.scope) === true),
      )
    },
  }

  function rolesOf(id: string): ReadonlySet<Role> {
    let found = rolesByToken.get(id) ?? known.get(id)
    if (found === undefined) {
      if (known.size >= maxKnown) known.clear()
      found = new Set(id.startsWith('spiffe://') ? workloadRoles(id) : [])
      known.set(id, found)
    }
    return found
  }

  function workloadRoles(id: string): Role[] {
    const parsed = parseSpiffeId(id)
    return workloads.filter(({ isMeant }) => isMeant(parsed)).flatMap(({ roles }) => roles)
  }
}
