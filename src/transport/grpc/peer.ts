// What a gRPC call brings beside its message: who calls, its correlation ID, its trace.
import type { Metadata } from '@grpc/grpc-js'
import type { Caller } from '../../decision/request.ts'
import { PdpError } from '../../errors.ts'
import { childSpan } from '../../telemetry/trace-context.ts'
import { callerOfBearer, type TokenVerifier } from '../bearer.ts'
import { correlationId } from '../correlation.ts'
import type { RequestFacts } from '../decide.ts'

/** What of a call is used here. */
export interface Call {
  readonly metadata: Metadata
  getPeer(): string
}

export function correlationOf({ metadata }: Call): string {
  return correlationId(only(metadata, 'x-request-id'))
}

/**
 * @param verify undefined: anybody may ask
 * @throws PdpError ERR_UNAUTHENTICATED, ERR_AMBIGUOUS_CREDENTIALS
 */
export function factsOf(call: Call, id: string, door: string, verify: TokenVerifier | undefined): RequestFacts {
  const anonymous = callerAt(call.getPeer())
  const credentials = call.metadata.get('authorization')
  if (credentials.length > 1) throw new PdpError('ERR_AMBIGUOUS_CREDENTIALS', 'the authorization metadata is there more than once')
  const caller = verify === undefined ? anonymous : { ...callerOfBearer(credentials[0]?.toString(), verify), address: anonymous.address }
  return { door, correlationId: id, trace: childSpan(only(call.metadata, 'traceparent')), caller }
}

/** Metadata that is there once; Node joins repeated fields with commas, which no harmless value has. */
function only(metadata: Metadata, key: string): string | undefined {
  const [value, ...more] = metadata.get(key)
  return more.length === 0 && typeof value === 'string' ? value : undefined
}

const known = new Map<string, Caller>()
const maxKnown = 1_000

/** Callers without an identity, one for each address. */
function callerAt(peer: string): Caller {
  const address = peer.replace(/:\d+$/, '')
  let caller = known.get(address)
  if (caller === undefined) {
    if (known.size >= maxKnown) known.clear()
    caller = { authenticated: false, address }
    known.set(address, caller)
  }
  return caller
}
