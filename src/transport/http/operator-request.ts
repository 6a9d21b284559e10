// What the routes of the admin scope ask of a request: an operator with the role, numbers that are numbers.
import type { FastifyRequest } from 'fastify'
import type { Caller } from '../../decision/request.ts'
import { PdpError } from '../../errors.ts'
import { callerOf } from './authentication.ts'

export type Role = 'pull' | 'push' | 'patch' | 'approve' | 'operate' | 'audit' | 'revoke' | 'quarantine'

export type HasRole = (caller: Caller, role: Role) => boolean

/**
 * @returns the operator's ID
 * @throws PdpError ERR_FORBIDDEN
 */
export function operatorOf(request: FastifyRequest, role: Role, hasRole: HasRole): string {
  const caller = callerOf(request)
  const { id = '' } = caller
  if (!hasRole(caller, role)) throw new PdpError('ERR_FORBIDDEN', `\`${id}\` does not have the role \`${role}\``)
  return id
}

/**
 * @param otherwise where nothing is given
 * @param what the message of the refusal
 * @throws PdpError ERR_INVALID_REQUEST
 */
export function wholeNumber(given: unknown, otherwise: number, what: string): number {
  if (given === undefined) return otherwise
  if (typeof given !== 'string' || !/^\d{1,15}$/.test(given)) throw new PdpError('ERR_INVALID_REQUEST', what)
  return Number(given)
}
