// Who may do what with the service itself: tokens in files, each with an identity and roles; and the local administrator, who has
// all of them.
import type { Caller } from '../decision/request.ts'
import { createFixedToken, createTokenFile } from './token-file.ts'

export const roles = ['pull', 'push', 'patch', 'approve', 'operate', 'audit'] as const
export type Role = (typeof roles)[number]

export interface OperatorConfig {
  readonly id: string
  readonly tokenFile: string
  readonly roles: readonly Role[]
}

export interface Operators {
  /** @returns undefined for a token that nobody has */
  verify(token: string): Caller | undefined
  hasRole(id: string | undefined, role: Role): boolean
}

export const administrator = 'token:admin'

/** @throws PdpError ERR_CONFIG_INVALID for a file that cannot be read */
export function createOperators(configured: readonly OperatorConfig[], adminToken: string): Operators {
  const rolesById = new Map<string, ReadonlySet<Role>>([[administrator, new Set(roles)]])
  const verifiers: { readonly id: string; readonly isToken: (token: string) => boolean }[] = [
    { id: administrator, isToken: createFixedToken(adminToken) },
  ]
  for (const { id, tokenFile, roles } of configured) {
    rolesById.set(id, new Set(roles))
    verifiers.push({ id, isToken: createTokenFile(tokenFile) })
  }
  return {
    verify(token) {
      // All are compared, so that time does not tell which one it was.
      const found = verifiers.filter(({ isToken }) => isToken(token))[0]
      return found && { authenticated: true, id: found.id }
    },
    hasRole: (id, role) => id !== undefined && rolesById.get(id)?.has(role) === true,
  }
}
