// What a gRPC call brings beside its message: who calls, its correlation ID, its trace.
import type { Caller } from '../../decision/request.ts'
import { PdpError } from '../../errors.ts'
import { childSpan } from '../../telemetry/trace-context.ts'
import { callerOfBearer, type TokenVerifier } from '../bearer.ts'
import { correlationId } from '../correlation.ts'
import type { RequestFacts } from '../decide.ts'
import type { Call } from './call.ts'

export function correlationOf(call: Call): string {
  return correlationId(only(call, 'x-request-id'))
}

/**
 * @param verify undefined: anybody may ask
 * @throws PdpError ERR_UNAUTHENTICATED, ERR_AMBIGUOUS_CREDENTIALS
 */
export function factsOf(call: Call, id: string, door: string, verify: TokenVerifier | undefined): RequestFacts {
  const anonymous = callerAt(call.address)
  const credentials = call.values('authorization')
  if (credentials.length > 1) throw ambiguousCredentials()
  const caller = verify === undefined ? anonymous : { ...callerOfBearer(credentials[0], verify), address: anonymous.address }
  return { door, correlationId: id, trace: childSpan(only(call, 'traceparent')), caller }
}

/** A field that is there once; Node joins repeated ones with commas, which no harmless value has. */
function only(call: Call, name: string): string | undefined {
  const values = call.values(name)
  return values.length === 1 ? values[0] : undefined
}

const known = new Map<string, Caller>()
const maxKnown = 1_000

/** Callers without an identity, one for each address. */
function callerAt(address: string): Caller {
  let caller = known.get(address)
  if (caller === undefined) {
    if (known.size >= maxKnown) known.clear()
    caller = { authenticated: false, address }
    known.set(address, caller)
  }
  return caller
}

export function ambiguousCredentials(): PdpError {
  return new PdpError('ERR_AMBIGUOUS_CREDENTIALS', 'the authorization metadata is there more than once')
}
