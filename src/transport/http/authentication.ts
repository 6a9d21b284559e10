// Who is at the other end of an HTTP connection, and whether a scope lets them in.
// Not where identities come from: verifiers are passed in.
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyRequest } from 'fastify'
import type { Caller } from '../../decision/request.ts'
import { callerOfBearer, type TokenVerifier } from '../bearer.ts'

const authenticated = new WeakMap<FastifyRequest, Caller>()
const anonymous = new WeakMap<Socket, Caller>()

/** The caller that `requireBearer` let in, else the anonymous peer of the connection. */
export function callerOf(request: FastifyRequest): Caller {
  return authenticated.get(request) ?? anonymousPeer(request.raw.socket)
}

/**
 * Lets only callers in whose token is known.
 * @throws PdpError ERR_UNAUTHENTICATED
 */
export function requireBearer(verify: TokenVerifier): (request: FastifyRequest) => Promise<void> {
  return async (request) => {
    authenticated.set(request, callerOfRequest(request.raw, verify))
  }
}

/**
 * The caller of a request whose authentication nobody has looked at yet.
 * @param verify undefined: anybody may ask
 * @throws PdpError ERR_UNAUTHENTICATED
 */
export function callerOfRequest(request: IncomingMessage, verify: TokenVerifier | undefined): Caller {
  if (verify === undefined) return anonymousPeer(request.socket)
  return { ...callerOfBearer(request.headers.authorization, verify), address: request.socket.remoteAddress }
}

export function anonymousPeer(socket: Socket): Caller {
  let caller = anonymous.get(socket)
  if (caller === undefined) {
    caller = { authenticated: false, address: socket.remoteAddress }
    anonymous.set(socket, caller)
  }
  return caller
}
