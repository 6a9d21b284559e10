// Who is at the other end of an HTTP connection, and whether a scope lets them in.
// Not where identities come from: verifiers are passed in.
import type { IncomingMessage } from 'node:http'
import type { Socket } from 'node:net'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Caller } from '../../decision/request.ts'
import { type Admission, admit, nextNonceOf, type ProvenRequest } from '../admission.ts'
import { connectionOf, peerOfConnection } from '../secure-connections.ts'

const admitted = new WeakMap<FastifyRequest, Caller>()
const anonymous = new WeakMap<Socket, Caller>()

/** The caller that `requireAdmission` let in, else the peer of the connection. */
export function callerOf(request: FastifyRequest): Caller {
  return admitted.get(request) ?? peerOfSocket(request.raw.socket)
}

/**
 * Lets in whom a scope admits.
 * @throws PdpError ERR_UNAUTHENTICATED, ERR_FORBIDDEN
 */
export function requireAdmission(admission: Admission): (request: FastifyRequest, reply: FastifyReply) => Promise<void> {
  return async (request, reply) => {
    const caller = await callerOfRequest(request.raw, admission)
    admitted.set(request, caller)
    const nonce = nextNonceOf(caller)
    if (nonce !== undefined) reply.header('dpop-nonce', nonce)
  }
}

/**
 * The caller of a request whose authentication nobody has looked at yet.
 * @param admission undefined: anybody may ask
 * @throws PdpError as admit
 */
export function callerOfRequest(request: IncomingMessage, admission: Admission | undefined): Caller | Promise<Caller> {
  return admit(admission, request.headers.authorization, peerOfSocket(request.socket), () => provenOf(request))
}

function provenOf({ headers, method = '', url = '' }: IncomingMessage): ProvenRequest {
  const { dpop, host = '' } = headers
  // Node joins a repeated field by a comma, which no proof has.
  const proofs = dpop === undefined ? [] : [dpop].flat().flatMap((value) => value.split(','))
  return { proofs, method, host, path: url.split('?', 1)[0] as string }
}

/** One object for each connection. */
export function peerOfSocket(socket: Socket): Caller {
  const connection = connectionOf(socket)
  const peer = connection && peerOfConnection(connection)
  if (peer !== undefined) return peer
  let caller = anonymous.get(socket)
  if (caller === undefined) {
    caller = { authenticated: false, address: socket.remoteAddress }
    anonymous.set(socket, caller)
  }
  return caller
}
